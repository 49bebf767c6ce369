"""`clipflow review`: a local web page on which a person edits the shorts of a video.

`serve.py` starts it, `app.py` has its addresses, `guard.py` says who may use them, `video.py` what
they do, and `media.py` passes videos on from the bucket. The page is in `templates/` and `static/`.
"""
