"""Writing systems, the languages written in them, and the names of languages."""

from __future__ import annotations

from typing import NamedTuple


class Script(NamedTuple):
    """One writing system."""

    characters: str  # Unicode ranges, the inside of a character class
    languages: tuple[str, ...]  # ISO 639-1; the most spoken ones that py3langid knows
    characters_per_word: int = 0  # for scripts without spaces between words; 0 with spaces
    shortest: int = 2  # letters of a word; x, y and n are variables
    has_case: bool = False


_LATIN = (
    "en es fr de pt it nl sv no da fi is et lv lt pl cs sk sl hr sq ro hu tr az eu ca gl ga cy mt eo la "
    "id tl vi sw so zu xh yo ig ha af ht"
)
SCRIPTS: dict[str, Script] = {
    "Latin": Script("A-Za-zªºÀ-ÖØ-öø-ʯ\u0300-\u036fḀ-ỿ", tuple(_LATIN.split()), has_case=True),
    "Cyrillic": Script("Ѐ-ԯ", tuple("ru uk be bg mk sr kk ky mn tg tt".split()), has_case=True),
    "Greek": Script("Ͱ-Ͽἀ-῿", ("el",), has_case=True),
    "Arabic": Script(
        "\u0600-\u0605\u0610-\u061a\u0620-\u065f\u066e-\u06d3\u06d5-\u06efۺ-ۿݐ-ݿﭐ-﷿ﹰ-\ufeff",
        tuple("ar fa ur ps ug".split()),
    ),
    "Hebrew": Script("\u0591-\u05f4", ("he",)),
    "Devanagari": Script("\u0900-\u0963\u0971-\u097f", tuple("hi mr ne".split())),
    "Bengali": Script("\u0980-\u09e3\u09f0-\u09ff", tuple("bn as".split())),
    "Gurmukhi": Script("\u0a00-\u0a65\u0a70-\u0a7f", ("pa",)),
    "Gujarati": Script("\u0a80-\u0ae5\u0af0-\u0aff", ("gu",)),
    "Oriya": Script("\u0b00-\u0b65\u0b70-\u0b7f", ("or",)),
    "Tamil": Script("\u0b80-\u0be5\u0bf0-\u0bff", ("ta",)),
    "Telugu": Script("\u0c00-\u0c65\u0c70-\u0c7f", ("te",)),
    "Kannada": Script("\u0c80-\u0ce5\u0cf0-\u0cff", ("kn",)),
    "Malayalam": Script("\u0d00-\u0d65\u0d70-\u0d7f", ("ml",)),
    "Sinhala": Script("\u0d80-\u0de5\u0df0-\u0dff", ("si",)),
    "Thai": Script("\u0e00-\u0e3a\u0e40-\u0e4e", ("th",), characters_per_word=4),
    "Lao": Script("\u0e80-\u0ecd\u0edc-\u0edf", ("lo",), characters_per_word=4),
    "Myanmar": Script("\u1000-\u103f\u104c-\u109f", ("my",), characters_per_word=4),
    "Khmer": Script("\u1780-\u17d3\u17dc-\u17dd", ("km",), characters_per_word=4),
    "Georgian": Script("\u10a0-\u10ff", ("ka",)),
    "Armenian": Script("\u0531-\u0587", ("hy",), has_case=True),
    "Ethiopic": Script("\u1200-\u1360", ("am",)),
    "Hangul": Script("\u1100-\u11ff\uac00-\ud7af", ("ko",), shortest=1),
    "Kana": Script("\u3041-\u30fa\u30fc-\u30ff\uff66-\uff9f", ("ja",), characters_per_word=1, shortest=1),
    "Han": Script("\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff", ("zh", "ja"), characters_per_word=1, shortest=1),
}
LANGUAGES = frozenset(code for script in SCRIPTS.values() for code in script.languages)

# Labels of py3langid that count as another language.
SAME = {
    "nb": "no",
    "nn": "no",
    "wuu": "zh",
    "yue": "zh",
    "ary": "ar",
    "arz": "ar",
    "bs": "hr",
    "ms": "id",
    "fil": "tl",
    "iw": "he",
}

LANGUAGE_NAMES = {
    name: code
    for code, names in {
        "ar": "arabic", "bg": "bulgarian", "bn": "bengali", "ca": "catalan", "cs": "czech", "da": "danish",
        "de": "german deutsch", "el": "greek", "en": "english 英文 英语", "es": "spanish español", "et": "estonian",
        "fa": "persian farsi", "fi": "finnish", "fr": "french français", "gu": "gujarati", "he": "hebrew",
        "hi": "hindi", "hr": "croatian bosnian", "hu": "hungarian", "id": "indonesian malay", "is": "icelandic",
        "it": "italian italiano", "ja": "japanese 日本語", "ka": "georgian", "kn": "kannada",
        "ko": "korean 한국어", "lt": "lithuanian", "lv": "latvian",
        "mk": "macedonian", "ml": "malayalam", "mr": "marathi", "ne": "nepali",
        "nl": "dutch", "no": "norwegian", "pa": "punjabi", "pl": "polish", "pt": "portuguese português",
        "ro": "romanian", "ru": "russian русский", "sk": "slovak", "sl": "slovenian", "sr": "serbian", "sv": "swedish",
        "sw": "swahili", "ta": "tamil", "te": "telugu", "th": "thai", "tl": "tagalog filipino", "tr": "turkish",
        "uk": "ukrainian", "ur": "urdu", "vi": "vietnamese", "zh": "chinese mandarin 中文 汉语 简体中文",
    }.items()
    for name in names.split()
}  # fmt: skip
