"""Tables as text."""


def format_table(rows: list[list[str]], words: int = 1) -> str:
    """Lines of aligned columns: the first row is the header, the first `words` columns are words, the rest numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
