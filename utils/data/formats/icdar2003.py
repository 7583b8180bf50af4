"""The XML files of ICDAR 2003 (`words.xml`) and Street View Text (`train.xml`, `test.xml`): upright boxes.

    <image><imageName>img/14_03.jpg</imageName>
      <taggedRectangles><taggedRectangle height="75" width="236" x="375" y="253"><tag>LIVING</tag> ...

Neither set marks don't-cares. Street View Text annotates only the words of its lexicon: other words in its images
count as background in training.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from utils.data.formats.base import Finding, Format, Source, list_files
from utils.data.formats.entries import DONT_CARE, Entry, Malformed, Shape, WordList, parse_numbers, text_of
from utils.data.formats.folder import Folder
from utils.data.formats.shapes import box_corners
from utils.data.formats.text_files import head_of
from utils.data.formats.xml_files import read_xml, root_of


def find(folder: Folder) -> Finding | None:
    files = list_files(folder, lambda file: root_of(head_of(file)) == "tagset", ".xml")
    files = [file for file in files if b"imageName" in head_of(file)]
    words = [file for file in files if not file.stem.startswith(("locations", "segmentation", "characters"))]
    return Finding(words or files, f"{folder.relative(files[0])} has the root element <tagset>") if files else None


def read(source: Source) -> Iterator[Entry]:
    document = read_xml(source.file)
    if document.tag != "tagset":
        raise Malformed(f"its root element is <{document.tag[:40]}>; expected <tagset>")
    for image in document.iter("image"):
        name = source.image((image.findtext("imageName") or "").strip())
        if name is None:
            continue
        words = WordList(f"{source.file}: image {name}", source.problems)
        for number, rectangle in enumerate(image.iter("taggedRectangle")):
            with words.entry_of(f"taggedRectangle {number}"):
                words.add(_shape(rectangle, words))
        yield words.entry(name)


def _shape(rectangle: Element, words: WordList) -> Shape:
    x, y, width, height = parse_numbers([rectangle.get(key) for key in ("x", "y", "width", "height")])
    if parse_numbers([rectangle.get("rotation", "0")])[0] != 0:
        words.problems.add("boxes with a rotation, whose unit is not documented: read as upright", words.place)
    text = text_of(rectangle.findtext("tag"))
    return Shape(box_corners(x, y, x + width, y + height), text, text.strip() == DONT_CARE)


FORMAT = Format("icdar2003", find, read)
