"""What the agents raise. In: nothing. Out: every module of agents/, and the command, which turns them into exit codes.

LampitError                 its message is safe to print: never a payload, a key or a NIK
├── ConfigurationError      a setting, a topic or a key does not fit; one sentence with the remedy; exit code 2
│   └── Unreachable         who was named does not answer: a wrong address, or it is away; from a restart on, exit code 1
├── AddressInUse            another process listens where the web server is to; one sentence too, but it may be free soon
├── LogMismatch             a store stands where the log has nothing (any more): another cluster, or a topic made anew
├── DamagedStore            a file of a store cannot be read; the next start sets it aside and rebuilds it
├── StoreFailed             the disk of a store is full or does not work
├── LostRecords             records were skipped or repeated between the broker and an agent
├── UndecodableRecords      a record batch that cannot be read, met by an agent that cannot go on without it
├── LostWrite               a record was not acknowledged; the process must end
└── Fenced                  a newer worker has taken over this partition; the process must end
"""

from __future__ import annotations


class LampitError(Exception):
    """Base of all; str() of one is safe to print and to log."""


class ConfigurationError(LampitError):
    """A setting, a topic or a key does not fit. The message names it and the remedy, never a secret."""


class Unreachable(ConfigurationError):
    """The brokers, or the place of archive or snapshots, do not answer: where they did before, no setting is wrong."""


class AddressInUse(LampitError):
    """The web server's address is taken, perhaps by a process that is about to end."""


class LogMismatch(LampitError):
    """The store stands outside the log."""


class DamagedStore(LampitError):
    """A file of a store cannot be read."""


class StoreFailed(LampitError):
    """A store cannot be written or read."""


class LostRecords(LampitError):
    """The records handed to an agent do not follow on what it had."""


class UndecodableRecords(LampitError):
    """A record batch cannot be decompressed or fails its checksum."""


class LostWrite(LampitError):
    """At least one record of a call was not acknowledged, or may not have been."""


class Fenced(LampitError):
    """Another producer with the same transactional id has been started since."""
