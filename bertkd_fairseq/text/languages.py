"""What a language code says about its writing: whether words have spaces between, and what BLEU counts.

No package that is needed anyway has such a table. A code may have two letters or three, a script and a
country: ``zh``, ``zho_Hans`` and ``zh-CN`` are one language here.
"""

from __future__ import annotations

import re

# The languages that write no spaces between words, with sacreBLEU's tokeniser for each: by characters (char) where it
# has none, because its default, for European languages, would take each sentence for a word.
_WITHOUT_SPACES = {
    **dict.fromkeys(("zh", "zho", "chi", "cmn", "yue", "wuu", "gan", "hak", "lzh"), "zh"),
    **dict.fromkeys(("ja", "jpn"), "ja-mecab"),
    **dict.fromkeys(("th", "tha", "lo", "lao", "shn", "km", "khm", "my", "mya", "bur"), "char"),
    **dict.fromkeys(("bo", "bod", "tib", "dz", "dzo"), "char"),  # spaces between phrases only
}
_TOKENIZERS = {**_WITHOUT_SPACES, "ko": "ko-mecab", "kor": "ko-mecab"}


def has_spaces(lang: str) -> bool:
    """Return whether the language writes spaces between words; of a code that isn't known, it does."""
    return _base(lang) not in _WITHOUT_SPACES


def sacrebleu_tokenizer(lang: str) -> str:
    """Return the name of sacreBLEU's tokeniser for a target language, as sacreBLEU would choose if it has one."""
    return _TOKENIZERS.get(_base(lang), "13a")


def length(line: str, spaces: bool) -> int:
    """Return the words of a line, or with ``spaces`` false its characters (code points, spaces apart)."""
    words = line.split()
    return len(words) if spaces else sum(map(len, words))


def _base(lang: str) -> str:
    return re.split("[-_]", lang.lower(), maxsplit=1)[0]
