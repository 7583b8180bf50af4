"""Words for rendered signs: from a list, or from a built-in vocabulary."""

import string
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.runtime.inputs import read_regular

_SIGN_WORDS = """
exit entrance open closed push pull stop taxi hotel cafe bar bank books bread coffee pizza sale new old north south
east west gate platform station street avenue market museum library school office room floor stairs lift no smoking
parking private danger wet paint please wait here ring bell tickets info information help desk way out in up down left
right toilet toilets ladies gents men women baby fire alarm hose extinguisher emergency only staff authorised personnel
keep clear door closed watch your step mind the gap caution warning high voltage slippery when level basement lobby
reception customer service centre center counter cashier pay pay point card cards cash atm food court restaurant kitchen
noodle rice chicken fish soup tea juice fresh fruit bakery cake ice cream burger grill sushi fashion shoes bags watches
optical jewellery beauty hair salon spa pharmacy clinic dental medical hospital doctor health fitness gym sports toys
gifts flowers electronics mobile phone computer camera photo print copy travel tours money changer exchange insurance
property car park cars bus train airport terminal departures arrivals check baggage claim passport control customs
road lane drive park garden bridge river lake hill city town hall plaza tower mall square building block house unit
total off discount up to free buy one get two special offer today now hiring rent for sale call us opening hours
mon tue wed thu fri sat sun daily am pm from till and the of to is are be you your we our with not do on at by all
more best quality since world great good big small hot cold super mini maxi plus express direct first class premium
"""
_ONSET_PARTS = """
b br c ch cl cr d dr f fl fr g gl gr h j k l m n p ph pl pr qu r s sc sh sl sp st str t th tr v w wh y z
"""
_VOWEL_PARTS, _CODA_PARTS = "a e i o u ai ea ee ie oa oo ou y", "b ck d g l ll m n nd ng nt p r rd rt s ss st t th x"
_SIGNS, _ONSETS, _VOWELS = _SIGN_WORDS.split(), _ONSET_PARTS.split(), _VOWEL_PARTS.split()
_CODAS = ["", "", "", *_CODA_PARTS.split()]
_DRESSED = "{}!", "{}?", "{}.", "{},", "{}:", "({})", "{}'s", '"{}"', "&{}", "{}-{}", "#{}"
_LETTERS = string.ascii_letters + string.digits


class Vocabulary:
    """A source of words. words: a list to draw from; None: words of signs, made-up words, numbers and the like."""

    def __init__(self, words: list[str] | None = None):
        self._words = words

    @property
    def characters(self) -> set[str]:
        """The characters that a typeface should have."""
        return set("".join(self._words)) if self._words else set(_LETTERS)

    def line(self, rng: np.random.Generator, count: int) -> list[str]:
        """Words for one line, in one style of capitals."""
        words = [self._word(rng) for _ in range(count)]
        if self._words:
            return words
        style = rng.choice(4, p=(0.36, 0.32, 0.22, 0.1))
        if style == 0:
            return [word.upper() for word in words]
        if style == 1:
            return [word.capitalize() for word in words]
        return words if style == 2 else [words[0].capitalize(), *words[1:]]

    def _word(self, rng: np.random.Generator) -> str:
        if self._words:
            return self._words[rng.integers(len(self._words))]
        kind = rng.random()
        if kind < 0.5:
            word = _pick(rng, _SIGNS)
        elif kind < 0.82:
            word = _made_up(rng)
        else:
            return _number(rng)
        if rng.random() < 0.08:
            word = _pick(rng, _DRESSED).format(word, _pick(rng, _SIGNS))
        return word


def read_words(path: Path) -> list[str]:
    """The words of a UTF-8 file with one word per line; empty lines are left out. Raises `UserError`."""
    try:
        lines = read_regular(path).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a file with one word a line") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    words = [line.strip() for line in lines if line.strip()]
    if not words:
        raise UserError(f"{path}: it has no words; give a file with one word a line")
    spaced = next((word for word in words if len(word.split()) > 1), None)
    if spaced is not None:
        raise UserError(f"{path}: {spaced[:40]!r} has a space inside; give one word a line")
    return words


def _pick(rng: np.random.Generator, choices):
    return choices[rng.integers(len(choices))]


def _made_up(rng: np.random.Generator) -> str:
    syllables = rng.choice(4, p=(0.2, 0.42, 0.28, 0.1)) + 1
    return "".join(_pick(rng, _ONSETS) + _pick(rng, _VOWELS) + _pick(rng, _CODAS) for _ in range(syllables))[:14]


_NUMBER_FORMS = """
{small} {large} {small} {large} ${small} ${small}.{minute:02d} £{small}.99 {small}% -{small}%
{hour24}:{minute:02d} {hour}am {hour}:{minute:02d}pm #{room:02d}-{minute} {phone} {phone}-{large} {phone}{large}
B{floor} {small}A +65-{phone} {small}/{minute} {letter}{minute} {year} No.{small} {small}km
"""
_NUMBERS = _NUMBER_FORMS.split()


def _number(rng: np.random.Generator) -> str:
    """A price, a time, a house number, a telephone number or the like."""
    small, large = int(rng.integers(1, 100)), int(10 ** rng.uniform(1, 5))
    minute, phone = int(rng.integers(60)), int(rng.integers(1000, 10000))
    derived = {
        "hour": small % 12 + 1,
        "hour24": small % 24,
        "room": small % 30,
        "floor": small % 9,
        "letter": chr(65 + small % 26),
        "year": 1900 + small + minute % 30,
    }
    return _pick(rng, _NUMBERS).format(small=small, large=large, minute=minute, phone=phone, **derived)
