"""What strangers wrote, as a terminal may show it: text without control characters, or hex where it is no UTF-8."""

from __future__ import annotations

HEX_BYTES_PER_LINE = 16


def printable(text: str, keep: str = "") -> str:
    """A text without what a terminal would obey: whoever wrote a dead letter may not steer the reader's screen."""
    return "".join(one if one.isprintable() or one in keep else ascii(one)[1:-1] for one in text)


def text_of(content: bytes) -> str | None:
    """UTF-8 as text; None: it is none."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def in_a_line(content: bytes) -> str:
    """Text, or hex, without a line's end."""
    text = text_of(content)
    return content.hex(" ") if text is None else printable(text)


def in_lines(content: bytes) -> str:
    """Text with its lines, or a table of hex."""
    text = text_of(content)
    if text is not None:
        return printable(text, keep="\n\t")
    lines = (content[at : at + HEX_BYTES_PER_LINE] for at in range(0, len(content), HEX_BYTES_PER_LINE))
    return "\n".join(f"{number * HEX_BYTES_PER_LINE:08x}  {line.hex(' ')}" for number, line in enumerate(lines))
