"""Text that is a secret by its looks, whatever it is called: in tables whose keys users choose.

Taken for one: tokens by the prefixes that their issuers give them, signed tokens, private keys, logins and
signatures in addresses, and long text as random as keys are. A digest is as random; it is shown where its
name says what it is.
"""

import re
from itertools import pairwise
from typing import Final

_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9])("
    r"(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"  # AWS
    r"|gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"  # code hosts
    r"|hf_\w{20,}|api_org_\w{20,}|wandb_v1_\w{20,}"  # model hubs, experiment trackers
    r"|(sk|pk|rk)[-_](\w+[-_])*[A-Za-z0-9]{16,}[\w-]*"  # many services
    r"|xox[a-z]-[\w-]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|npm_\w{30,}|pypi-[\w-]{30,}|dop_v1_\w{30,}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,}|dapi[0-9a-f]{32}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}(\.[\w-]*){0,3}"  # JSON web tokens
    r")"
)
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")
_SCHEME: Final = re.compile(r"\b(bearer|basic|token|negotiate)\s+\S{8,}", re.IGNORECASE)
_LOGIN: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_PARAMETER: Final = re.compile(
    r"(?<=[?&;\s])([\w.-]*(password|passwd|pwd|secret|token|signature|sig|credential|accountkey|api_?key)"
    r"[\w.-]*)=[^&;\s]+",
    re.IGNORECASE,
)
_RANDOM: Final = re.compile(r"(?<![\w./+=-])[A-Za-z0-9_+/=-]{24,}(?![\w./+=-])")
_HEX: Final = re.compile(r"[0-9a-fA-F-]{32,}")
_DIGEST: Final = re.compile(
    r"(^|[_-])(revision|rev|commit|sha\d*|digest|hash|checksum|etag|md5|uuid)$", re.IGNORECASE
)
_CHANGES: Final = 0.25
"""Changes between small, large and digit, a character, beyond which they make no words; random ones: 0.65."""


def hidden(text: str, mask: str, name: str) -> str:
    """The text with what looks like a secret masked; `name` is that of the setting.

    >>> hidden("postgres://ann:pw@db/models", "***", "source")
    'postgres://***@db/models'
    """
    if _PRIVATE_KEY.search(text):
        return mask
    text = _LOGIN.sub(f"{mask}@", text)
    text = _PARAMETER.sub(rf"\1={mask}", text)
    text = _SCHEME.sub(rf"\1 {mask}", text)
    text = _TOKEN.sub(mask, text)
    if _DIGEST.search(name):
        return text
    return _RANDOM.sub(lambda found: mask if _is_random(found[0]) else found[0], text)


def _is_random(word: str) -> bool:
    if _HEX.fullmatch(word):
        return len(set(word)) > 8
    kinds = [_kind(character) for character in word]
    changes = sum(one != two and "other" not in (one, two) for one, two in pairwise(kinds))
    return {"lower", "upper", "digit"} <= set(kinds) and changes >= _CHANGES * len(word)


def _kind(character: str) -> str:
    if character.isalpha():
        return "lower" if character.islower() else "upper"
    return "digit" if character.isdigit() else "other"
