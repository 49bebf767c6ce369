"""`clipflow review`: a local web page on which a person edits the shorts of a video.

`app.py` serves the page, `video.py` reads and stores what it shows. The page itself is in
`templates/` and `static/`.
"""
