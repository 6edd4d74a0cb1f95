"""What brings the journal of a run into a store while the run goes on: a thread, here or in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from expkit.errors import TrackingError
from expkit.tracking.delivery import Delivery
from expkit.tracking.left_behind import send_left_behind
from expkit.tracking.sender import Sender
from expkit.tracking.sent import Sent
from expkit.tracking.store import StoreSettings, remedy
from expkit.tracking.text import explain, masked


class Carrier:
    """Opens the store of one run, and sends its journal there from a thread of this process.

    Args:
        folder: of the run.
        settings: of the store.

    Attributes:
        settings: as above.
        last_error: why something could not be sent; empty where nothing failed.
    """

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        self.folder, self.settings, self.last_error = folder, settings, ""
        self._delivery = Delivery(folder, settings)
        self._sender: Sender | None = None

    @property
    def uri(self) -> str:
        """URI of the store, absolute."""
        return self._delivery.uri

    @property
    def sent(self) -> Sent:
        """How far it came."""
        return self._delivery.sent

    @property
    def told(self) -> list[str]:
        """What came of what was sent, for people."""
        return self._delivery.told

    @property
    def is_connected(self) -> bool:
        """Whether the store was opened."""
        return self._delivery.is_connected

    def is_behind(self) -> bool:
        """Whether something that was recorded has not reached the store yet, as far as the run's folder tells."""
        return Delivery(self.folder, self.settings).is_behind()

    def left(self) -> str:
        """Say in words what was not sent; empty where nothing is left."""
        return self._delivery.left()

    def connect(self) -> None:
        """Open the store.

        Raises:
            TrackingError: it does not answer.
        """
        self._delivery.connect()

    def find_run(self) -> None:
        """See whether the run that was sent to is there; if not, or if it was deleted, all is sent anew.

        Raises:
            TrackingError: the store does not answer.
        """
        self._delivery.find_run(anew=True)

    def begin(self) -> None:
        """Make the run in the store, which has just answered.

        Raises:
            TrackingError: it was not made whole; says why.
        """
        try:
            self._delivery.deliver()
        except TrackingError as error:
            raise TrackingError(
                f"tracking store {masked(self.uri)}: no run could be written ({explain(error.__cause__ or error)}). "
                + remedy(error, "Free its disk or mend its permissions, or train without it: tracking.kind=none.")
            ) from error

    def give_up(self, identity: str, status: str) -> None:
        """Leave nothing in the folder of a run that could not be begun, and no run in the store that seems to run."""
        self._delivery.give_up(identity, status)

    def start(self) -> None:
        """Begin to send in the background; after that, what earlier runs left behind."""
        then = partial(send_left_behind, self.settings, but=self.folder)
        self._sender = Sender(self._delivery, then)
        self._sender.start()

    def close(self, wait: Callable[[], bool] = lambda: True) -> bool:
        """Send what is left, as far as the store takes it, and end; returns whether all was sent.

        Args:
            wait: asked often; False ends it early.
        """
        if self._sender is None:
            return not self._delivery.is_behind()
        whole = self._sender.close(wait)
        self.last_error = self._sender.last_error
        return whole
