"""The chain holds the bytes of each line, and whatever a line may be, it is a finding and no crash."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from index_store import Archive
from retrieval import AuditError, AuditLog
from retrieval.audit.chain import origin_hash, verify_chain
from ui.cli import cli

EARLIER = Path(__file__).with_name("earlier_version.jsonl")
"""Three events as the version before wrote them, which hashed the parsed line."""


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    log = AuditLog(tmp_path, "archive")
    for number in range(3):
        log.record("query", user="ünal", cases=[number])
    return log


@pytest.fixture
def earlier(tmp_path: Path) -> AuditLog:
    shutil.copyfile(EARLIER, tmp_path / "archive.jsonl")
    return AuditLog(tmp_path, "archive")


def test_the_hash_is_that_of_the_line_s_bytes(log: AuditLog) -> None:
    for line in log.path.read_bytes().splitlines():
        body, _, digest = line.rpartition(b',"hash":"')
        assert hashlib.sha256(body + b"}").hexdigest().encode() == digest[:-2]


@pytest.mark.parametrize("which", ["log", "earlier"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"user":"\xc3\xbcnal"', b'"user":"somebody","user":"\xc3\xbcnal"'),  # a key twice: the last one counts
        (b'"user":"\xc3\xbcnal"', b'"user":"\\u00fcnal"'),
        (b'"seq":2,', b'"seq": 2,'),
        (b'"seq":2,', b'"seq":2.0,'),
        (b'"event":"', b'"event":"x","event":"'),
        (b'"hash":"', b'"hash":"00","hash":"'),
        (b'"cases":[', b'"cases":[1],"cases":['),
    ],
)
def test_other_bytes_of_the_same_meaning_show(
    which: str, old: bytes, new: bytes, request: pytest.FixtureRequest
) -> None:
    chain: AuditLog = request.getfixturevalue(which)
    whole = chain.path.read_bytes().splitlines(keepends=True)
    assert old in whole[1]
    whole[1] = whole[1].replace(old, new, 1)
    chain.path.write_bytes(b"".join(whole))
    assert "line 2" in chain.verify().problem


def test_a_log_of_the_version_before_is_whole_and_goes_on(earlier: AuditLog) -> None:
    noted = (3, json.loads(EARLIER.read_bytes().splitlines()[-1])["hash"])
    assert earlier.verify(expected=noted).problem == ""
    earlier.record("query", user="ünal")
    state = earlier.verify(expected=noted)
    assert (state.problem, state.events) == ("", 4)


def test_a_line_cannot_be_passed_off_as_one_of_the_version_before(log: AuditLog) -> None:
    whole = log.path.read_bytes().splitlines(keepends=True)
    whole[1] = whole[1].replace(b'"chain":2,', b"").replace(b'"user"', b'"user":"somebody","user"')
    log.path.write_bytes(b"".join(whole))
    assert "line 2 (event 2) was changed" in log.verify().problem


def test_a_line_of_the_version_before_with_half_a_surrogate_was_changed() -> None:
    """No version could write it, so that it has no bytes to compare with."""
    origin = origin_hash("archive")
    line = b'{"seq":1,"time":"","event":"query","user":"\\ud800","previous":"%s","hash":""}\n' % origin.encode()
    assert verify_chain([line], origin).problem == "line 1 (event 1) was changed after it was written"


MALFORMED = {
    "no JSON": b"hello",
    "empty": b"",
    "not UTF-8": b'{"seq":2,"time":"\xff"}',
    "UTF-16": '{"seq":2}'.encode("utf-16"),
    "truncated": b'{"seq":2,"time":"2026',
    "a list": b"[1,2]",
    "a number": b"7",
    "nothing in it": b"{}",
    "a huge number": b'{"seq":' + b"9" * 5000 + b"}",
    "infinite": b'{"seq":1e999,"time":"","event":"","previous":"","hash":""}',
    "nested": b'{"seq":' + b"[" * 100_000 + b"}",
    "a number as text": b'{"seq":"2","time":"","event":"","previous":"","hash":""}',
    "true": b'{"seq":true,"time":"","event":"","previous":"","hash":""}',
    "a time that is none": b'{"seq":2,"time":7,"event":"query","previous":"","hash":""}',
    "no event": b'{"seq":2,"time":"","previous":"","hash":""}',
    "a removal of nothing": b'{"seq":2,"time":"","event":"pruned","previous":"","hash":""}',
    "a removal up to text": b'{"seq":2,"time":"","event":"pruned","through":"1","previous":"","hash":""}',
    "half a surrogate": b'{"seq":2,"time":"\\ud800","event":"query","previous":"","hash":""}',
    "an anchor that is text": b'{"anchor":"x"}',
    "an anchor without hash": b'{"anchor":{"seq":1}}',
    "an anchor with a number": b'{"anchor":{"seq":1,"hash":"x"},"seq":2}',
    "NUL": b"\x00\x00\x00",
}


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_line_is_a_finding_with_its_number(log: AuditLog, line: bytes, place: int) -> None:
    whole = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join([*whole[:place], line + b"\n", *whole[place:]]))
    assert f"line {place + 1} " in log.verify().problem
    list(log.events())
    if place == 3 and b"ud800" not in line:  # nothing is recorded behind what is no event
        with pytest.raises(AuditError, match="damaged at its end"):
            log.record("query")


@pytest.mark.parametrize("name", ["no JSON", "a huge number", "no event", "a removal up to text"])
def test_the_command_names_a_malformed_line(tmp_path: Path, name: str) -> None:
    with Archive.create(tmp_path / "cases") as archive:
        log = AuditLog(tmp_path / "audit", archive.uuid)
    for number in range(2):
        log.record("query", cases=[number])
    whole = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join([whole[0], MALFORMED[name] + b"\n", whole[1]]))
    ran = CliRunner().invoke(cli, ["audit", "--archive", str(tmp_path / "cases"), "--audit", str(tmp_path / "audit")])
    assert ran.exit_code == 1
    assert "NOT WHOLE: line 2 " in ran.output
