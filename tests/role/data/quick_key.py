"""Have restic open a repository at once: by design its key takes half a second for each command.

Keys are as in restic's manual, "References", "Keys, Encryption and MAC": scrypt makes a key of the
password; that key opens the repository's own by AES-256 in counter mode and Poly1305-AES.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

BLOCK = 16  # bytes of AES
COST = {"N": 2, "r": 8, "p": 1}


def quicken(repository: Path, password: str) -> None:
    """Have the only key of a repository cost next to nothing; the password stays the same."""
    (path,) = (repository / "keys").iterdir()
    about = json.loads(path.read_text())
    own = _opened(_derived(password, about), base64.b64decode(about["data"]))
    about.update(COST)
    about["data"] = base64.b64encode(_sealed(_derived(password, about), own)).decode()
    text = json.dumps(about)
    path.unlink()
    path.with_name(hashlib.sha256(text.encode()).hexdigest()).write_text(text)


def _derived(password: str, about: dict[str, Any]) -> bytes:
    """Return 32 bytes for AES and 32 for the authentication."""
    cost = {name.lower(): about[name] for name in COST}
    salt = base64.b64decode(about["salt"])
    return hashlib.scrypt(password.encode(), salt=salt, **cost, maxmem=2**30, dklen=64)


def _crypted(key: bytes, counter: bytes, text: bytes) -> bytes:
    return Cipher(algorithms.AES256(key[:32]), modes.CTR(counter)).encryptor().update(text)


def _mac(key: bytes, nonce: bytes, text: bytes) -> bytes:
    once, rest = key[32:48], key[48:64]
    block = Cipher(algorithms.AES128(once), modes.ECB()).encryptor()
    return Poly1305.generate_tag(rest + block.update(nonce), text)


def _opened(key: bytes, sealed: bytes) -> bytes:
    nonce, text, mac = sealed[:BLOCK], sealed[BLOCK:-BLOCK], sealed[-BLOCK:]
    assert _mac(key, nonce, text) == mac
    return _crypted(key, nonce, text)


def _sealed(key: bytes, text: bytes) -> bytes:
    nonce = hashlib.sha256(text).digest()[:BLOCK]
    hidden = _crypted(key, nonce, text)
    return nonce + hidden + _mac(key, nonce, hidden)
