"""What messages may show of things that come from outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import shown_text, shown_url

BAD = "(not a valid URL)"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", BAD),
        ("https://kinesisvideo.eu-west-1.amazonaws.com", "https://kinesisvideo.eu-west-1.amazonaws.com"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("http://[::1]:9/x", "http://[::1]:9"),
        ("http://user:s3cret@127.0.0.1:9", "http://127.0.0.1:9"),
        ("http://s3cret@host/", "http://host"),
        ("http://user:s3@cret@host", "http://host"),
        ("https://host/path/s3cret?token=s3cret#s3cret", "https://host"),
        ("http://user:s3/cret@host:9", BAD),
        ("http://user:12/s3cret@host:9", BAD),
        ("http://user:s3?cret@host:9", BAD),
        ("http://user:s3#cret@host:9", BAD),
        ("http://user:s3cret@bad host", BAD),
        ("http://host:s3cret", BAD),
        ("http://[s3cret", BAD),
        ("user:s3cret@host", BAD),
        ("http://", BAD),
    ],
)
def test_of_a_url_only_scheme_host_and_port_are_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@given(st.text(max_size=8), st.text(max_size=8))
def test_no_password_is_shown_whatever_it_is_made_of(before: str, after: str) -> None:
    assert "s3cret" not in shown_url(f"http://user:{before}s3cret{after}@127.0.0.1:9").lower()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "''"),
        ("V_MPEG4/ISO/AVC", "'V_MPEG4/ISO/AVC'"),
        ("it's", r"'it\'s'"),
        ("\x1b[2J\r\n", r"'\x1b[2J\r\n'"),
        ("Zürich", "'Zürich'"),
        ("\u202egnp", r"'\u202egnp'"),
        ("a" * 62, f"'{'a' * 62}'"),
        ("a" * 63, f"'{'a' * 61}…'"),
    ],
)
def test_text_of_a_stream_is_quoted_and_escaped(text: str, shown: str) -> None:
    assert shown_text(text) == shown


@given(st.text(max_size=200), st.integers(8, 64))
def test_text_of_a_stream_stays_short_on_its_line_and_inside_its_quotes(text: str, longest: int) -> None:
    shown = shown_text(text, longest)
    assert len(shown) <= longest
    assert shown.isprintable()
    assert (shown[0], shown[-1]) == ("'", "'")
    assert "'" not in shown[1:-1].replace("\\\\", "").replace("\\'", "")


@given(st.text(max_size=20))
def test_different_short_texts_are_shown_differently(text: str) -> None:
    shown = shown_text(text, 1000)
    assert eval(shown) == text
