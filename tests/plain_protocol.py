"""The ICDAR 2015 protocol (task 4.1) in plain Python with exact numbers, as a reference for the tests.

Areas are exact fractions. Between two neighbouring heights at which a corner or a crossing lies, no sides cross, so
the width of a polygon changes linearly, and its area is the height times the width in the middle.
"""

import re
from fractions import Fraction
from itertools import combinations, pairwise


def evaluate_files(ground_truth: dict[str, bytes], results: dict[str, bytes]) -> dict[str, float]:
    """Precision, recall and hmean. Both arguments: contents of gt_img_N.txt or res_img_N.txt by N."""
    matched = words = found = 0
    for name, content in ground_truth.items():
        truth = [read_line(line, with_text=True) for line in lines_of(content)]
        detections = [read_line(line, with_text=False)[0] for line in lines_of(results.get(name, b""))]
        care = [text != "###" for _, text in truth]
        wanted = [not in_dont_care(quad, truth) for quad in detections]
        taken = set()
        for (word, _), cared in zip(truth, care, strict=True):
            for number, quad in enumerate(detections):
                if cared and wanted[number] and number not in taken and iou(word, quad) > 0.5:
                    taken.add(number)
                    break
        matched, words, found = matched + len(taken), words + sum(care), found + sum(wanted)
    recall = matched / words if words else 0
    precision = matched / found if found else 0
    hmean = 2 * recall * precision / (recall + precision) if recall + precision else 0
    return {"precision": precision, "recall": recall, "hmean": hmean}


def lines_of(content: bytes) -> list[str]:
    text = content.decode("utf-8", "replace")
    text = text[1:] if text.startswith("\ufeff") else text
    return [line for line in (line.replace("\r", "") for line in text.split("\n")) if line != ""]


def read_line(line: str, with_text: bool) -> tuple[list[tuple[int, int]], str]:
    parts = line.split(",", 8)
    assert len(parts) == 8 + with_text
    numbers = [int(part.strip()) for part in parts[:8]]
    quad = list(zip(numbers[::2], numbers[1::2], strict=True))
    text = parts[8] if with_text else ""
    if quoted := re.match(r'^\s*"(.*)"\s*$', text):
        text = quoted.group(1).replace("\\\\", "\\").replace('\\"', '"')
    return quad, text


def in_dont_care(quad: list, truth: list) -> bool:
    area = shoelace(quad)
    return any(text == "###" and area and intersection(word, quad) / area > 0.5 for word, text in truth)


def iou(word: list, quad: list) -> Fraction:
    shared = intersection(word, quad)
    union = shoelace(word) + shoelace(quad) - shared
    return shared / union if union else Fraction(0)


def shoelace(quad: list) -> Fraction:
    sides = zip(quad, quad[1:] + quad[:1], strict=True)
    return abs(sum((Fraction(x1 * y2 - x2 * y1, 2) for (x1, y1), (x2, y2) in sides), Fraction(0)))


def intersection(first: list, second: list) -> Fraction:
    """The area of the intersection of the two enclosed areas (by the even-odd rule)."""
    sides = [list(zip(quad, quad[1:] + quad[:1], strict=True)) for quad in (first, second)]
    heights = {y for quad in (first, second) for _, y in quad}
    heights |= {y for one, other in combinations(sides[0] + sides[1], 2) if (y := crossing(one, other)) is not None}
    area = Fraction(0)
    for low, high in pairwise(sorted(heights)):
        middle = Fraction(low + high) / 2
        spans = [pairs(sorted(x for side in quad if (x := position(side, middle)) is not None)) for quad in sides]
        for left, right in spans[0]:
            for start, end in spans[1]:
                area += (high - low) * max(min(right, end) - max(left, start), 0)
    return area


def pairs(positions: list) -> list:
    return list(zip(positions[::2], positions[1::2], strict=True))


def position(side: tuple, y: Fraction) -> Fraction | None:
    """The x of a side at a height, None if the side does not reach it."""
    (x1, y1), (x2, y2) = side
    if not min(y1, y2) < y < max(y1, y2):
        return None
    return x1 + (y - y1) * Fraction(x2 - x1, y2 - y1)


def crossing(one: tuple, other: tuple) -> Fraction | None:
    """The height at which the lines through two sides cross, None for parallel ones."""
    (x1, y1), (x2, y2) = one
    (x3, y3), (x4, y4) = other
    slope = (x2 - x1) * (y4 - y3) - (y2 - y1) * (x4 - x3)
    if not slope:
        return None
    share = Fraction((x3 - x1) * (y4 - y3) - (y3 - y1) * (x4 - x3), slope)
    return y1 + share * (y2 - y1)
