"""Raw text to symbols and back, as fairseq asks for it."""

from __future__ import annotations

import pytest

from bertkd_fairseq.data.encoders import BertKDMoses, BertKDMosesConfig
from bertkd_fairseq.errors import ConfigurationError


def test_an_unknown_scheme_is_told_before_anything_is_decoded() -> None:
    with pytest.raises(ConfigurationError) as error:
        BertKDMoses(BertKDMosesConfig(target_lang="en", subword="syllables"))
    assert str(error.value) == (
        "`subword of bertkd_moses` must be one of wordpiece, bpe, sentencepiece, but is syllables instead."
    )
