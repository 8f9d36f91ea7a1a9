"""Which cards are known to be compromised on a judged day: alerting on them again finds nothing new."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.training.metrics import Flags, Ints

LABEL_DELAY_DAYS = 7
KNOWN_WEEK_DAYS = 7


def unknown_until_judged(
    day: Ints, user: NDArray[np.int32], is_fraud: Flags, judged: Ints, label_delay_days: int
) -> Flags:
    """Which judged rows are left when users known to be compromised are taken out, day by day.

    On a judged day m, a user is known who had a fraud on a day before m - label_delay_days: its label has come by then.
    Only frauds count from KNOWN_WEEK_DAYS before the labels' border of the first judged day on; cards found out earlier
    have been replaced. So the Handbook's protocol results (training on 7 days, a delay of 7 days, then 7 days judged,
    without the cards found in the training week and, as the judged days go by, after it), for any number of days. Le
    Borgne et al., Reproducible Machine Learning for Credit Card Fraud Detection, function get_train_test_set.

    Args:
        day: (n,) number of the day of each row of the history, ascending.
        user: (n,) numbers of the users.
        is_fraud: (n,) labels.
        judged: rows that would be judged, ascending.
        label_delay_days: after how many days a fraud is known.

    Returns:
        (len(judged),) whether the row stays.
    """
    if not len(judged):
        return np.ones(0, np.bool_)
    earliest = day[judged[0]] - label_delay_days - KNOWN_WEEK_DAYS
    counted = np.flatnonzero(is_fraud & (day >= earliest))
    first_fraud = np.full(int(user.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first_fraud, user[counted], day[counted])
    return np.asarray(first_fraud[user[judged]] >= day[judged] - label_delay_days)
