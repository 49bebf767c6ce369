"""Where the sample is, and where what is made of it goes."""

from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "demo" / "sample"
OUT = ROOT / "out"

console = Console()
