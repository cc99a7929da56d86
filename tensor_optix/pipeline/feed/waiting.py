"""What waits in a buffer, and whether its source waited, too."""

from collections import deque


class Waiting:
    """Counts the items in a buffer by the stream that they came in; they are taken in the order in which they came."""

    def __init__(self) -> None:
        self.count = 0
        """Items that wait."""
        self.in_stream = 0
        """Items of the stream in progress that were put into the buffer."""
        self._of_streams = deque([0])
        """Those that wait, by stream; the first one is that of the last item taken."""

    def put(self) -> None:
        """Count an item of the stream in progress."""
        self.count += 1
        self.in_stream += 1
        self._of_streams[-1] += 1

    def take(self) -> None:
        """Count the oldest one out."""
        self.count -= 1
        while not self._of_streams[0]:
            self._of_streams.popleft()
        self._of_streams[0] -= 1

    def reopen(self) -> None:
        """Begin another stream."""
        self.in_stream = 0
        if self._of_streams[-1] or len(self._of_streams) == 1:
            self._of_streams.append(0)

    @property
    def is_ahead_in_stream(self) -> bool:
        """Whether one waits that came in the same stream as the last item taken, before that was answered."""
        return self._of_streams[0] > 0
