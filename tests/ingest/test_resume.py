"""Never twice, never skipped without a gap record: the rule between sessions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import ConfigurationError
from streamproc.ingest.resume import EARLIEST, NOW, Outcome, Resume, Selector, StartSelector, parse_start
from streamproc.model.media import Damage, Fragment, FragmentEnd
from streamproc.model.segment import Gap

SHORT = [Outcome.ENDED, Outcome.DROPPED, Outcome.STALLED, Outcome.UNAVAILABLE]


def fragment(number: int, server_us: int = 0) -> Fragment:
    return Fragment(str(number), 0, server_us)


def after(number: int) -> StartSelector:
    return StartSelector(Selector.AFTER_FRAGMENT, str(number))


def session(
    resume: Resume, *parts: tuple[Fragment, int, str], outcome: Outcome = Outcome.ENDED
) -> tuple[list[str], list[Gap]]:
    """Play (fragment, blocks, reason it is incomplete) through a session; returns what was passed on, and the gaps."""
    resume.session_started()
    passed, gaps = [], []
    for part, blocks, reason in parts:
        fresh, found = resume.begin(part, 0)
        gaps += found
        if not fresh:
            continue
        passed.append(part.number)
        for _ in range(blocks):
            resume.block()
        gaps += resume.end(FragmentEnd(part, not reason, reason=reason), 0)
    return passed, gaps + resume.session_ended(outcome, 0)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("now", {"StartSelectorType": "NOW"}),
        ("EARLIEST", {"StartSelectorType": "EARLIEST"}),
        ("after:91", {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "91"}),
        ("token:a-1", {"StartSelectorType": "CONTINUATION_TOKEN", "ContinuationToken": "a-1"}),
        ("producer:1.5", {"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": 1_500_000}),
        (
            "server:2026-01-31T12:00:00.25Z",
            {"StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": 1769860800_250000},
        ),
        ("2026-01-31T12:00:00", {"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": 1769860800_000000}),
        ("2026-01-31T13:00:00+01:00", {"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": 1769860800_000000}),
        ("1769860800", {"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": 1769860800_000000}),
    ],
)
def test_a_start_as_people_write_it_is_the_request_of_the_service(text, request_):
    request = parse_start(text).to_request()
    if "StartTimestamp" in request:
        moment = request["StartTimestamp"]
        assert moment.tzinfo is not None
        delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
        request["StartTimestamp"] = (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds
    assert request == request_


@pytest.mark.parametrize(
    "text",
    [
        "",
        "later",
        "after:",
        "after:12x",
        "after:-1",
        "after:" + "9" * 129,
        "token:",
        "server:soon",
        "-5",
        "1e99",
        "9" * 15,
    ],
)
def test_a_nonsense_start_is_refused_with_one_line(text):
    with pytest.raises(ConfigurationError) as error:
        parse_start(text)
    assert "\n" not in str(error.value)
    assert repr(text) in str(error.value)


@given(st.text(max_size=40))
def test_any_text_is_a_start_or_a_configuration_error(text):
    try:
        request = parse_start(text).to_request()
    except ConfigurationError:
        return
    assert request["StartSelectorType"] in {kind.value for kind in Selector}


def test_it_resumes_after_the_last_finished_fragment():
    resume = Resume(NOW)
    assert resume.selector == NOW
    session(resume, (fragment(5), 3, ""), (fragment(6), 2, "truncated"))
    assert resume.selector == after(5)


def test_with_nothing_finished_it_goes_back_to_the_partial_ones_server_time_or_the_start():
    resume = Resume(NOW)
    session(resume, (fragment(5, server_us=77), 3, "truncated"))
    assert resume.selector == StartSelector(Selector.SERVER_TIMESTAMP, time_us=77)
    resume = Resume(EARLIEST)
    session(resume, (fragment(5), 3, "truncated"))
    assert resume.selector == EARLIEST


def test_a_fragment_sent_again_whole_is_no_gap_and_one_followed_by_another_is():
    resume = Resume(NOW)
    assert session(resume, (fragment(5), 1, ""), (fragment(6), 1, "truncated"))[1] == []
    assert session(resume, (fragment(6), 4, ""), (fragment(7), 1, "truncated")) == (["6", "7"], [])
    passed, gaps = session(resume, (fragment(8), 4, ""))
    assert passed == ["8"]
    assert gaps == [Gap("truncated", "6", "7", None, 0)]


def test_the_last_finished_fragment_and_older_ones_are_dropped_when_they_come_again():
    resume = Resume(NOW)
    session(resume, (fragment(9), 1, ""), (fragment(10), 1, ""))
    assert session(resume, (fragment(9), 1, ""), (fragment(10), 1, ""), (fragment(100), 1, "")) == (["100"], [])
    assert resume.duplicates == 2


def test_a_damaged_fragment_inside_a_session_is_a_gap_once_the_next_begins():
    resume = Resume(NOW)
    gaps = session(resume, (fragment(5), 1, ""), (fragment(6), 1, "damaged"), (fragment(7), 1, ""))[1]
    assert gaps == [Gap("damaged", "5", "6", None, 0)]
    assert session(resume, (fragment(6), 1, "damaged"), (fragment(8), 1, "")) == (["8"], [])
    assert resume.duplicates == 1


def test_a_fragment_that_breaks_off_three_times_at_one_place_is_skipped():
    resume = Resume(NOW)
    session(resume, (fragment(5), 1, ""))
    part = (fragment(6), 4, "truncated")
    assert [session(resume, part)[1] for _ in range(3)] == [[], [], [Gap("truncated", "5", "6", None, 0)]]
    assert resume.selector == after(6)
    assert session(resume, (fragment(7), 1, ""))[1] == []


def test_a_fragment_that_gets_further_each_time_is_not_skipped():
    resume = Resume(NOW)
    assert all(session(resume, (fragment(6), blocks, "truncated"))[1] == [] for blocks in range(1, 9))


def test_sessions_that_bring_nothing_do_not_count_against_the_partial_one():
    resume = Resume(NOW)
    session(resume, (fragment(6), 2, "truncated"))
    assert all(session(resume, outcome=Outcome.UNAVAILABLE)[1] == [] for _ in range(9))


def test_a_fragment_over_a_limit_is_a_gap_at_once_and_not_asked_for_again():
    resume = Resume(NOW)
    gaps = session(resume, (fragment(5), 1, ""), (fragment(6), 1, "limit"))[1]
    assert [(gap.reason, gap.after, gap.fragment) for gap in gaps] == [("limit", "5", "6")]
    assert resume.selector == after(6)


def test_an_expired_fragment_means_earliest_and_one_gap():
    resume = Resume(after(5))
    assert resume.selector == after(5)
    gaps = session(resume, outcome=Outcome.EXPIRED)[1]
    assert [(gap.reason, gap.after) for gap in gaps] == [("retention", "5")]
    assert resume.selector == EARLIEST
    assert session(resume, outcome=Outcome.EXPIRED)[1] == []
    assert session(resume, (fragment(4), 1, ""), (fragment(9), 1, "")) == (["9"], [])
    assert resume.selector == after(9)


def test_lost_bytes_are_a_gap_only_when_a_new_fragment_follows_them_and_only_once():
    resume = Resume(NOW)
    session(resume, (fragment(5), 1, ""))
    resume.session_started()
    resume.damage(Damage(99, "noise"))
    assert resume.session_ended(Outcome.DROPPED, 0) == []
    for expected in (1, 0):
        resume.session_started()
        resume.damage(Damage(99, "noise"))
        fresh, gaps = resume.begin(fragment(7), 0)
        assert (fresh, len(gaps)) == (True, expected)
        resume.session_ended(Outcome.DROPPED, 0)


@pytest.mark.parametrize(
    ("outcome", "low", "high"),
    [
        (Outcome.ENDED, 0.25, 10),
        (Outcome.DROPPED, 0.25, 10),
        (Outcome.STALLED, 0.25, 10),
        (Outcome.UNAVAILABLE, 0.25, 10),
        (Outcome.EXPIRED, 0.25, 10),
        (Outcome.LIMIT, 5, 30),
        (Outcome.MISSING, 30, 35),
        (Outcome.DENIED, 30, 35),
    ],
)
@given(count=st.integers(1, 2000), random=st.floats(0, 1))
def test_the_pause_stays_in_its_bounds_and_grows(outcome, low, high, count, random):
    resume, before = Resume(NOW), 0.0
    for _ in range(min(count, 20)):
        session(resume, outcome=outcome)
        delay = resume.delay_s(random)
        assert low <= delay <= high
        assert delay >= before
        before = delay
    resume._failures += count
    assert resume.delay_s(1.0) <= high


def test_after_media_the_pause_is_short_and_the_endpoint_is_kept_for_forty_minutes():
    resume = Resume(NOW)
    for _ in range(9):
        session(resume)
    assert resume.delay_s(1.0) == 10.0
    session(resume, (fragment(5), 1, ""))
    assert resume.delay_s(1.0) == 0.25
    assert not resume.refresh_endpoint(2399)
    assert resume.refresh_endpoint(2400)
    session(resume, (fragment(6), 1, ""), outcome=Outcome.DROPPED)
    assert resume.refresh_endpoint(0)


@given(st.data())
def test_every_fragment_is_finished_once_or_named_in_one_gap(data):
    """A service that keeps fragments 1..n, breaks off anywhere, garbles some and forgets others."""
    count = data.draw(st.integers(1, 12), label="count")
    sizes = [data.draw(st.integers(0, 4)) for _ in range(count)]
    bad = {n for n in range(count) if data.draw(st.booleans(), label=f"bad {n}")} if data.draw(st.booleans()) else set()
    kept = 0
    resume = Resume(EARLIEST)
    finished: list[int] = []
    gaps: list[Gap] = []
    for turn in range(200):
        resume.session_started()
        selector = resume.selector
        if selector.kind is Selector.AFTER_FRAGMENT:
            first = int(selector.value)
            if first < kept:
                gaps += resume.session_ended(Outcome.EXPIRED, 0)
                continue
        elif selector.kind is Selector.SERVER_TIMESTAMP:
            first = max(kept, selector.time_us - 1)
        else:
            first = kept
        faults = turn < 40
        for n in range(first, count):
            part = fragment(n + 1, server_us=n + 1)
            fresh, found = resume.begin(part, 0)
            gaps += found
            cut = data.draw(st.integers(0, 4)) if faults and data.draw(st.integers(0, 3)) == 0 else None
            if fresh:
                for _ in range(sizes[n] if cut is None else min(cut, sizes[n])):
                    resume.block()
            reason = "truncated" if cut is not None else "damaged" if n in bad else ""
            if fresh:
                gaps += resume.end(FragmentEnd(part, not reason, reason=reason), 0)
                if not reason:
                    finished.append(n + 1)
            if cut is not None:
                break
        if faults and data.draw(st.integers(0, 9)) == 0:
            kept = min(count - 1, kept + data.draw(st.integers(0, 3)))
        gaps += resume.session_ended(data.draw(st.sampled_from(SHORT)), 0)
        if int(resume.last or 0) == count:
            break
    named = [int(gap.fragment) for gap in gaps if gap.fragment]
    assert int(resume.last) == count
    assert finished == sorted(set(finished))
    assert len(named) == len(set(named))
    assert not set(named) & set(finished)
    holes = set(range(1, count + 1)) - set(finished) - set(named)
    for hole in holes:  # nobody saw it: then the service had forgotten it, and that is recorded
        assert hole <= kept
        assert (
            any(gap.reason in ("retention", "truncated", "damaged") for gap in gaps)
            or not finished
            or hole < finished[0]
        )
