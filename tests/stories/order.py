"""What the receiver's history must show, whatever happened: stable identity, growing versions, kept order. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from connector.destinations import TAKEN
from connector.domain.events import FRESHNESS
from connector.receiver import Delivery, Seen

Key = tuple[str, str]


def broken(history: Iterable[Delivery]) -> list[str]:
    """One sentence for each breach of the invariants I4, I5 and I6; none when the history is in order."""
    return list(_breaches(history))


def _breaches(history: Iterable[Delivery]) -> Iterator[str]:
    digests: dict[str, str] = {}
    versions: dict[Key, int] = defaultdict(int)
    newest: dict[Key, int] = defaultdict(int)
    unanswered: dict[str, Seen] = {}
    """Events that came and were not acknowledged, by id."""
    for delivery in history:
        ahead: set[str] = set()
        """Events in the same request, before the one that is looked at."""
        for event in delivery.events:
            ahead.add(event.id)
            entity, lane = (event.source, event.subject), (event.source, event.partitionkey)
            if event.id in digests:
                if digests[event.id] != event.digest:
                    yield f"event {event.id} of {event.subject} came with other bytes"
                continue
            digests[event.id] = event.digest
            if event.entity_version <= versions[entity]:
                yield f"{event.subject}: version {event.entity_version} came after {versions[entity]}"
            if event.sequence <= newest[lane]:
                yield f"{event.subject}: sequence {event.sequence} came after {newest[lane]} of its partition"
            yield from (
                f"{event.subject}: sequence {event.sequence} overtook {other.sequence}, which was not acknowledged"
                for other in unanswered.values()
                if _waits_for(event, other, together=other.id in ahead)
            )
            versions[entity] = max(versions[entity], event.entity_version)
            newest[lane] = max(newest[lane], event.sequence)
        for event in delivery.events:
            if delivery.status == 200 and event.verdict in TAKEN:
                unanswered.pop(event.id, None)
            else:
                unanswered[event.id] = event


def _waits_for(event: Seen, other: Seen, *, together: bool) -> bool:
    """Freshness waits for everything before it, a version for the one before it, an event for its partition.

    Only the last may travel `together`: of a partition a request holds several, in their order.
    """
    if event.source != other.source or other.sequence > event.sequence:
        return False
    if event.type == FRESHNESS or event.subject == other.subject:
        return True
    return event.partitionkey == other.partitionkey and not together
