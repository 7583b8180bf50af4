"""XML documents from files of unknown origin, with Python's expat. Document types and entities are refused."""

import contextlib
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from utils.data.formats.entries import Malformed
from utils.data.formats.text_files import read_bytes

_MAX_DEPTH = 64


def read_xml(path: Path, comments: bool = False) -> Element:
    """The root element, without comments unless asked for. Raises `Malformed`.

    A document type (`<!DOCTYPE`) can define entities that expand to gigabytes or name other files; no annotation
    tool writes one.
    """
    return _parse(read_bytes(path), comments)


class _Found(Exception):
    """Ends the parser after the first element."""


def root_of(head: bytes) -> str:
    """Name of the root element in a file's first bytes; "" if they are no XML."""
    found: list[str] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        found.append(name)
        raise _Found

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    with contextlib.suppress(expat.ExpatError, _Found, ValueError, LookupError):
        parser.Parse(head, False)
    return found[0] if found else ""


def _parse(data: bytes, comments: bool) -> Element:
    builder, depth = TreeBuilder(insert_comments=comments), 0
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise Malformed(f"XML elements nested deeper than {_MAX_DEPTH}")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.CommentHandler = builder.comment
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise Malformed(f"not a whole XML document ({error})") from None
    except (ValueError, LookupError) as error:  # an encoding that neither expat nor Python knows
        raise Malformed(f"XML that cannot be decoded ({error})") from None
    return builder.close()


def _refuse(*_declaration) -> None:
    raise Malformed("it declares a document type or entities, which no annotation tool writes; remove <!DOCTYPE ...>")
