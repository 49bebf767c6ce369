"""Make the captions' fonts in `bold/` out of Noto's, each with what captions need of it.

    python clipflow/captions/fonts/make_fonts.py SOURCES

SOURCES is a folder that holds, side by side,

- `NotoSans*-Bold.ttf` out of Debian's package fonts-noto-core 20201225-1,
- `NotoSansCJK-Bold.ttc` out of Debian's package fonts-noto-cjk 1:20220127+repack1-1,
- `NotoEmoji_700Bold.ttf` out of npm's package @expo-google-fonts/noto-emoji 0.4.7,
- the files of `DISPLAY`, out of npm's packages @expo-google-fonts/anton 0.4.2, bangers 0.4.1,
  dm-serif-display 0.4.2, montserrat 0.4.2 and poppins 0.4.1.

What it writes is committed, so that no one else needs these: run it only to add a script. Needs
fontTools, and a minute for the Chinese, Japanese and Korean characters. See README.md for why the
fonts are changed, and OFL.txt for the licence of what they were and of what they become.
"""

import sys
from pathlib import Path
from typing import Any

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from clipflow.captions.typefaces import set_vertical_metrics

MADE = Path(__file__).parent / "bold"
# The name of each font after "Clipflow", and the file that it is made from.
SOURCES = {
    "Sans": "NotoSans-Bold.ttf",
    "Arabic": "NotoSansArabic-Bold.ttf",
    "Armenian": "NotoSansArmenian-Bold.ttf",
    "Bengali": "NotoSansBengali-Bold.ttf",
    "Devanagari": "NotoSansDevanagari-Bold.ttf",
    "Ethiopic": "NotoSansEthiopic-Bold.ttf",
    "Georgian": "NotoSansGeorgian-Bold.ttf",
    "Gujarati": "NotoSansGujarati-Bold.ttf",
    "Gurmukhi": "NotoSansGurmukhi-Bold.ttf",
    "Hebrew": "NotoSansHebrew-Bold.ttf",
    "Kannada": "NotoSansKannada-Bold.ttf",
    "Khmer": "NotoSansKhmer-Bold.ttf",
    "Lao": "NotoSansLao-Bold.ttf",
    "Malayalam": "NotoSansMalayalam-Bold.ttf",
    "Myanmar": "NotoSansMyanmar-Bold.ttf",
    "Oriya": "NotoSansOriya-Bold.ttf",
    "Sinhala": "NotoSansSinhala-Bold.ttf",
    "Tamil": "NotoSansTamil-Bold.ttf",
    "Telugu": "NotoSansTelugu-Bold.ttf",
    "Thai": "NotoSansThai-Bold.ttf",
    "CJK": "NotoSansCJK-Bold.ttc",
    "Emoji": "NotoEmoji_700Bold.ttf",
}
# Latin fonts that a caption style may choose, by the name that styles have for them.
DISPLAY = {
    "anton": "Anton_400Regular.ttf",
    "bangers": "Bangers_400Regular.ttf",
    "montserrat": "Montserrat_900Black.ttf",
    "poppins": "Poppins_600SemiBold.ttf",
    "serif": "DMSerifDisplay_400Regular.ttf",
}
# Capital letters of the sans font in ems, to which those of the display fonts are scaled.
CAPITALS = 0.714
# The collection's font with the forms of mainland China.
SIMPLIFIED = 2
# Rows of the national character sets: encoding, first and last of the lead byte, of the trail byte.
ROWS = (
    ("gb2312", range(0xA1, 0xF8), range(0xA1, 0xFF)),  # everyday simplified Chinese
    ("big5", range(0xA1, 0xC7), range(0x40, 0xFF)),  # level 1: everyday traditional Chinese
    ("euc_jp", range(0xA1, 0xF5), range(0xA1, 0xFF)),  # JIS X 0208, levels 1 and 2, and kana
    ("euc_kr", range(0xA1, 0xAD), range(0xA1, 0xFF)),  # the signs of KS X 1001
)
HANGUL = range(0xAC00, 0xD7A4)
SIGNS = range(0x2010, 0x2800)  # arrows, notes, ticks: the font with the most of them has these
COPYRIGHT, FAMILY, STYLE, UNIQUE, FULL, VERSION, POSTSCRIPT, LICENCE, LICENCE_AT = (
    *range(7),
    13,
    14,
)


def main(sources: Path) -> None:
    MADE.mkdir(exist_ok=True)
    make_scripts(sources)
    make_display(sources)


def make_display(sources: Path) -> None:
    for name, file in DISPLAY.items():
        font = TTFont(sources / file)
        reduce(font, set(font.getBestCmap()), name)
        rename(font, f"Clipflow {name.capitalize()}")
        # A larger em makes letters smaller, so that capitals have the same height in every font.
        head = font["head"]
        head.unitsPerEm = 10 * round(font["OS/2"].sCapHeight / CAPITALS / 10)
        save(font, MADE / f"display-{name}.ttf")


def make_scripts(sources: Path) -> None:
    for script, name in SOURCES.items():
        font = TTFont(sources / name, fontNumber=SIMPLIFIED if script == "CJK" else -1)
        reduce(font, east_asian() if script == "CJK" else set(font.getBestCmap()), script)
        rename(font, f"Clipflow {script}")
        save(font, MADE / f"clipflow-{script.lower()}{Path(name).suffix.replace('ttc', 'otf')}")


def save(font: Any, path: Path) -> None:
    set_vertical_metrics(font)
    address(font)
    # The source's modification date is kept, so that the same sources result in the same file.
    font.recalcTimestamp = False
    font.save(path)
    print(f"{path.stat().st_size:>9,}  {path.name}  {len(font.getBestCmap())} characters")


def east_asian() -> set[int]:
    found = {*HANGUL, *SIGNS}
    for encoding, leads, trails in ROWS:
        for pair in (bytes((lead, trail)) for lead in leads for trail in trails):
            found |= {ord(character) for character in pair.decode(encoding, errors="ignore")}
    return found


def reduce(font: Any, characters: set[int], script: str) -> None:
    """Leave what draws `characters` in horizontal text, without hints: libass does not use them."""
    options = Options(hinting=False, notdef_outline=True, name_IDs=["*"], glyph_names=False)
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE", "STAT"]
    if script == "CJK":
        options.layout_features = []
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)


def rename(font: Any, family: str) -> None:
    """Give the font a name of its own, as the licence requires. No other installed font has it."""
    names = font["name"]
    kept = {key: names.getDebugName(key) for key in (COPYRIGHT, VERSION, LICENCE, LICENCE_AT)}
    names.names = []
    postscript = family.replace(" ", "") + "-Bold"
    ours = {FAMILY: family, STYLE: "Bold", FULL: f"{family} Bold"}
    ours |= {POSTSCRIPT: postscript, UNIQUE: f"{postscript}; {kept[VERSION]}"}
    for key, text in sorted((ours | kept).items()):
        if text:
            names.setName(text, key, 3, 1, 0x409)
    if "CFF " in font:
        outlines = font["CFF "].cff
        outlines.fontNames = [postscript]
        outlines.topDictIndex[0].FamilyName = family
        outlines.topDictIndex[0].FullName = f"{family} Bold"


def address(font: Any) -> None:
    """Leave one table of characters: libass 0.17.1 reads only the first, which may lack emoji."""
    tables = font["cmap"].tables
    font["cmap"].tables = [max(tables, key=lambda table: (table.platformID, len(table.cmap)))]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
