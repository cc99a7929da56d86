"""Who makes the updates of agents that learn beside exploring, for tests: at once, or as late as can be."""

from concurrent.futures import Future
from typing import Any

from tensor_optix.algorithms._update_beside import Update


class Late(Future[Any]):
    """An update that is made when somebody waits for it.

    Args:
        update: makes it.
    """

    def __init__(self, update: Update) -> None:
        super().__init__()
        self._update = update

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if not self.done():
            try:
                self.set_result(self._update())
            except Exception as error:
                self.set_exception(error)
        return super().exception(timeout)
