"""Recording a run in MLflow, through an explicit client and never its global state.

Everything is queued and sent in batches. While the server is away the queue grows, lies in the run folder
(``mlflow-pending.json``) in case the run is killed, and is offered again from time to time; an attempt costs at most
a few seconds. What could not be sent at the end stays in that file for the next ``--resume``. Points that MLflow
already has are not sent again, so a resumed run may simply offer its whole trajectory.
"""

from __future__ import annotations

from ganinfer.tracking.address import TrackingError
from ganinfer.tracking.opening import open_tracker
from ganinfer.tracking.reaching import check_reachable
from ganinfer.tracking.tracker import Tracker

__all__ = ["Tracker", "TrackingError", "check_reachable", "open_tracker"]
