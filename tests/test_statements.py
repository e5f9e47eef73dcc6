"""Claims, verdicts and statements: what follows from numbers, and how it is shown."""

from __future__ import annotations

import numpy as np
import pytest

import nnvis_widgets as nv
from nnvis_widgets.results import Claim, Statements
from nnvis_widgets.results.claims import verdict_of, verdict_over


def claim(low, high, bound=1.0, above=True):
    return Claim("number", (low + high) / 2, low, high, bound=bound, above=above)


def statements(**changed) -> Statements:
    """Two statements with two claims and one; three runs of two groups."""
    nan = float("nan")
    parts = {
        "keys": ["first", "second"],
        "where": ["Fig. 1", "Fig. <2>"],
        "says": ["a is large & b small", "c | d"],
        "source": ["notes", "ours"],
        "remark": ["", "mind"],
        "of": np.array([0, 0, 1]),
        "claims": ["a", "b", "c"],
        "units": ["%", "", ""],
        "bound": np.array([10.0, 0.5, 0.0]),
        "above": np.array([True, False, True]),
        "runs": ["step 0", "step 1", "constant 0"],
        "groups": ["step", "step", "constant"],
        "value": np.array([[12.0, 14.0, 5.0], [0.1, 0.2, 0.3], [1.0, nan, nan]]),
        "low": np.array([[11.0, 13.0, 4.0], [0.1, 0.2, 0.3], [-1.0, nan, nan]]),
        "high": np.array([[13.0, 15.0, 6.0], [0.1, 0.2, 0.3], [2.0, nan, nan]]),
        "n": 57,
    }
    return Statements(**(parts | changed))


class TestClaims:
    @pytest.mark.parametrize(("low", "high", "above", "answer"), [
        (1.1, 2.0, True, True), (0.1, 0.9, True, False), (0.9, 1.1, True, None), (float("nan"), 2.0, True, None),
        (1.1, 2.0, False, False), (0.1, 0.9, False, True), (0.9, 1.1, False, None),
        (1.0, 1.0, True, False), (1.0, 1.0, False, False),
    ])  # fmt: skip
    def test_a_claim_holds_where_its_whole_interval_lies_on_the_claimed_side(self, low, high, above, answer):
        assert claim(low, high, above=above).answer is answer

    @pytest.mark.parametrize(("answers", "verdict"), [
        ([True, True], "holds"), ([True, False], "in part"), ([True, None], "in part"), ([False, None], "does not hold"),
        ([False], "does not hold"), ([None, None], "undecided"),
    ])  # fmt: skip
    def test_claims_come_to_a_verdict(self, answers, verdict):
        assert verdict_of(answers) == verdict

    @pytest.mark.parametrize(("verdicts", "over"), [
        (["holds", "holds", "not measured"], "holds"), (["holds", "does not hold"], "in part"), (["undecided", "holds"], "in part"),
        (["undecided", "does not hold"], "does not hold"), (["in part", "in part"], "in part"), (["not measured"], "not measured"),
    ])  # fmt: skip
    def test_so_do_runs(self, verdicts, over):
        assert verdict_over(verdicts) == over


class TestStatements:
    def test_verdicts_follow_from_the_numbers_and_flip_with_them(self):
        found = statements()
        assert found.verdicts("first") == ["holds", "holds", "in part"]
        assert [found.verdict("first"), found.verdict("first", "step")] == ["in part", "holds"]
        assert found.verdicts("second") == ["undecided", "not measured", "not measured"]
        assert found.verdict("second", "constant") == "not measured"
        flipped = statements(bound=np.array([20.0, 0.05, -2.0]))
        assert flipped.verdicts("first") == ["does not hold"] * 3
        assert flipped.verdict("second") == "holds"

    def test_numbers_are_means_over_a_group_with_the_ends_of_its_intervals(self):
        assert statements().numbers("first", "step") == ["13.0 % [11.0, 15.0]", "0.150 [0.100, 0.200]"]
        assert statements().numbers("second", "constant") == [""]
        assert statements().rule("first") == ["a > 10 %", "b < 0.5"]

    def test_one_of_them_is_statements_too(self):
        one = statements()["second"]
        assert (one.keys, one.claims, one.of.tolist(), one.bound.tolist()) == (["second"], ["c"], [0], [0.0])
        both = statements()[["second", "first"]]
        assert both.verdicts("first") == statements().verdicts("first")
        assert [each.keys for each in statements()] == [["first"], ["second"]]
        with pytest.raises(KeyError, match="first, second"):
            statements()["third"]

    def test_it_is_saved_and_read_with_the_same_verdicts(self, tmp_path):
        statements().save(tmp_path / "found")
        again = nv.load(tmp_path / "found")
        assert again.claims_to_pandas().equals(statements().claims_to_pandas())
        assert again.to_pandas().equals(statements().to_pandas())

    def test_its_tables_say_all_of_it(self):
        table = statements().to_pandas()
        assert list(table.verdict) == ["in part", "undecided"]
        assert len(statements().claims_to_pandas()) == 7
        markdown = statements().to_markdown().splitlines()
        assert len(markdown) == 4
        assert all(line.replace("\\|", "").count("|") == 7 for line in markdown)
        assert repr(statements()) == "Statements(2 statements, 3 claims x 3 runs: 1 in part, 1 undecided; n = 57)"

    def test_its_pages_are_escaped_and_show_every_rule_and_number(self):
        page = statements()._repr_html_().replace("&nbsp;", " ")
        assert all(part in page for part in ("a is large &amp; b small", "Fig. &lt;2&gt;", "a &gt; 10 %", "13.0 % [11.0, 15.0]"))
        card = statements()["first"]._repr_html_().replace("&nbsp;", " ")
        assert all(part in card for part in ("a &gt; 10 %", "b &lt; 0.5", "◐"))
        assert "c | d" not in card

    def test_it_is_drawn_with_a_mark_for_every_verdict_that_there_is(self):
        from matplotlib.figure import Figure

        axes = statements().plot(Figure().add_subplot())
        drawn = [line for line in axes.lines if len(line.get_xdata())]
        assert len(drawn) == 4
        assert [text.get_text() for text in axes.get_yticklabels()] == ["first", "second"]
