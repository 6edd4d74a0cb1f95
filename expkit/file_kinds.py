"""What a file really is, from its first bytes, whatever its name says."""

from __future__ import annotations

_SIGNATURES = (
    (0, b"%PDF", "it is a PDF; save the page as PNG"),
    (4, b"ftyphei", "it is HEIC, which phones write; convert it to JPEG or PNG"),
    (4, b"ftyphev", "it is HEIC, which phones write; convert it to JPEG or PNG"),
    (4, b"ftypmif1", "it is HEIF, which phones write; convert it to JPEG or PNG"),
    (0, b"PK\x03\x04", "it is a ZIP archive (as xlsx and docx are); unpack or export it first"),
    (0, b"\x1f\x8b", "it is packed with gzip; unpack it first"),
    (0, b"\xd0\xcf\x11\xe0", "it is an old Office file (xls, doc); export it first"),
    (0, b"\x93NUMPY", "it is a NumPy array; let its name end in .npy"),
    (0, b"\xff\xfe", "it is text in UTF-16; save it in UTF-8"),
    (0, b"\xfe\xff", "it is text in UTF-16; save it in UTF-8"),
    (0, b"PAR1", "it is a Parquet file; export it as CSV first"),
    (4, b"ftyp", "it is a video, or an image of a kind that Pillow cannot read"),
)
_IMAGES = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_LOOKED_AT = 4096


def kind_of(content: bytes) -> str:
    """Say what a file is that is neither an image nor a CSV file, and what to do; empty where it may be one."""
    for place, signature, said in _SIGNATURES:
        if content[place : place + len(signature)] == signature:
            return said
    return ""


def image_kind(content: bytes) -> str:
    """Return the format of an image by its first bytes; empty where it is none of the usual ones."""
    return next((name for signature, name in _IMAGES if content.startswith(signature)), "")


def text_in(content: bytes) -> str:
    """Return the first words of a file that holds text in UTF-8; empty where it holds none."""
    start = content[:_LOOKED_AT]
    if b"\0" in start or image_kind(start):
        return ""
    text = start.decode("utf-8", "ignore" if len(content) > _LOOKED_AT else "replace").lstrip("\ufeff \r\n\t")
    first = "" if "\ufffd" in text else next(iter(text.splitlines()), "")
    return f"{first[:30].rstrip()}..." if len(first) > 30 else first
