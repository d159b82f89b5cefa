from __future__ import annotations

import pytest

from deploys.worker.claim_pace import LONGEST_SECONDS, SHORTEST_SECONDS, ClaimPace


@pytest.mark.parametrize(
    ("seconds", "nodes", "pause"),
    [
        pytest.param(0.008, 1, SHORTEST_SECONDS, id="one node among few"),
        pytest.param(0.05, 50, SHORTEST_SECONDS, id="a whole share costs what its nodes cost"),
        pytest.param(0.04, 3, 0.148, id="few of thousands: a fifth of the time"),
        pytest.param(0.5, 3, LONGEST_SECONDS, id="slots wait no longer than that"),
        pytest.param(0.02, 0, 0.08, id="nothing came"),
    ],
)
def test_a_claim_that_costs_more_than_its_nodes_is_followed_by_a_longer_pause(
    seconds: float, nodes: int, pause: float
) -> None:
    pace = ClaimPace()
    pace.took(seconds, nodes=nodes)
    assert pace.pause_seconds == pytest.approx(pause)
    pace.took(0.001, nodes=1)
    assert pace.pause_seconds == SHORTEST_SECONDS
