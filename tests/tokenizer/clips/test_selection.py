"""What of a clip is read, as it stands in a query."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vistok.media.clips.selection import Selection
from vistok_protocol.errors import ErrorCode, VistokError

POSITIVE = st.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=1001)


def test_nothing_said_is_everything() -> None:
    assert Selection.parse() == Selection()
    assert Selection().frame_count(Fraction(30)) is None


def test_everything_said() -> None:
    selection = Selection.parse("30000/1001", "1.5", "10", "16", 256)
    assert selection == Selection(Fraction(30000, 1001), Fraction(3, 2), Fraction(10), 16, 256)


@given(POSITIVE)
def test_any_rate_written_as_a_fraction_is_read_exactly(rate: Fraction) -> None:
    assert Selection.parse(fps=str(rate)).fps == rate


@given(st.integers(0, 10**9), st.integers(1, 999))
def test_decimals_are_read_exactly(whole: int, thousandths: int) -> None:
    text = f"{whole % 10**6}.{thousandths:03}"
    assert Selection.parse(start=text).start == Fraction(text)


BAD_NUMBERS = ["", " ", "nan", "inf", "-1", "+1", "1/0", "0/0", "1e3", "1e999", "abc", "1_0", "1.", ".5",
               "1/2/3", "0x10", "٣", "99999999999", "9" * 5000, "1.5/2", "1 ", "1\n"]  # fmt: skip


@pytest.mark.parametrize("name", ["fps", "start", "duration"])
@pytest.mark.parametrize("text", BAD_NUMBERS)
def test_what_is_no_number(name: str, text: str) -> None:
    with pytest.raises(VistokError, match=f"expected {name} to be a number") as refused:
        Selection.parse(**{name: text})
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert repr(text) in refused.value.detail


@pytest.mark.parametrize("name", ["max_frames", "max_side"])
@pytest.mark.parametrize("text", ["0", "-3", "1.5", "nan", "", "1/2", "1e2", "9999999999", "1\n"])
def test_what_is_no_whole_number(name: str, text: str) -> None:
    with pytest.raises(VistokError, match=f"expected {name} to be a whole number"):
        Selection.parse(**{name: text})


@pytest.mark.parametrize("name", ["fps", "duration"])
@pytest.mark.parametrize("text", ["0", "0.0", "0/7"])
def test_zero_is_only_a_start(name: str, text: str) -> None:
    assert Selection.parse(start=text).start == 0
    with pytest.raises(VistokError, match="above 0"):
        Selection.parse(**{name: text})


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(VistokError):
        fps = Selection.parse(fps=text).fps
        assert fps is not None
        assert 0 < fps <= 1000


@given(POSITIVE, POSITIVE, st.none() | st.integers(1, 100))
def test_the_frames_of_a_duration(fps: Fraction, duration: Fraction, most: int | None) -> None:
    count = Selection(duration=duration, max_frames=most).frame_count(fps)
    assert count is not None
    if count != most:
        assert (count - 1) / fps < duration <= count / fps


def test_what_lies_before_the_start_does_not_count() -> None:
    assert Selection(start=Fraction(3)).frame_count(Fraction(10), Fraction(5)) == 20
    assert Selection(start=Fraction(7)).frame_count(Fraction(10), Fraction(5)) == 0
