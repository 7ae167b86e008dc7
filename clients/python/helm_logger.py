"""Sends a service's log to Helm. Copy this file into your service: Python 3.8 or newer, standard library only.

    from helm_logger import HelmLogger, HelmLogHandler

    logger = HelmLogger('codex', 'http://localhost:5004')
    logger.error('Database connection failed', trace_id='abc-123', context={'host': 'db'})

    app.logger.addHandler(HelmLogHandler('codex'))

What holds:

* Logging never waits for Helm. Entries go into a bounded queue; a thread sends them in batches. What finds the queue full is dropped and
  counted, and the count is logged as soon as Helm answers again.
* A batch is sent again until Helm has it. It carries this sender's name and a number (``X-Helm-Sender``, ``X-Helm-Sequence``), so that Helm keeps
  it once however often it comes.
* At exit the queue is flushed, for at most five seconds. After a fork (gunicorn with or without ``--preload``) a child sends under a name of its own, and
  what waited in its parent is sent by the parent.
* The token is ``HELM_TOKEN`` where that is set, else a service token of Core, else none; which one is in ``logger.auth``, and is said once in the
  log named ``helm_logger``.
"""

import atexit
import collections
import http.client
import json
import logging
import os
import random
import re
import socket
import threading
import time
import traceback
import urllib.parse
import uuid
import weakref
from datetime import datetime, timezone

__all__ = ['HelmLogger', 'HelmLogHandler']

_log = logging.getLogger('helm_logger')

#: Bytes of one batch, and of all that waits.
_BATCH_BYTES = 1 << 20
_QUEUE_BYTES = 16 << 20
#: Bytes of one entry; Helm keeps 64 KiB of a message.
_ENTRY_BYTES = 128 << 10
#: First and longest pause before a batch is sent again, in seconds.
_PAUSE = (0.5, 30.0)
#: Core's tokens live five minutes; a new one is fetched a minute before.
_TOKEN_LIFE = 240.0
#: Seconds until Core is asked again, where it gave none.
_NO_TOKEN = 10.0
#: Statuses that say that the batch itself is at fault: it would be refused again.
_HOPELESS = frozenset((400, 404, 405, 410, 411, 413, 414, 415, 422))

_loggers = weakref.WeakSet()


class _Failed(Exception):
    """A batch did not arrive; ``after`` is when Helm wants it again, in seconds."""

    def __init__(self, why, after=None):
        super().__init__(why)
        self.after = after


class HelmLogger:
    """Sends entries of one service to Helm."""

    def __init__(self, service_name, helm_url=None, batch_size=200, flush_interval=1.0, capacity=10000,
                 token=None, core_url=None, timeout=5.0):
        """
        service_name: as Helm knows it.
        helm_url: default HELM_SERVICE_URL, else http://localhost:5004.
        batch_size: entries in one request, at most.
        flush_interval: seconds that an entry waits for others, at most.
        capacity: entries that wait, at most.
        token: default HELM_TOKEN, else one of Core, else none.
        core_url: default CORE_SERVICE_URL, else http://localhost:5000.
        timeout: seconds that Helm and Core are given to answer.
        """
        if not re.match(r'^[a-z0-9_-]{1,50}$', service_name):
            raise ValueError('%r is not a service name: use 1 to 50 of a-z, 0-9, _ and -' % (service_name,))
        self.service_name = service_name
        self.helm_url = helm_url or os.environ.get('HELM_SERVICE_URL') or 'http://localhost:5004'
        self.core_url = core_url or os.environ.get('CORE_SERVICE_URL') or 'http://localhost:5000'
        self.batch_size = max(1, batch_size)
        self.flush_interval = flush_interval
        self.capacity = max(1, capacity)
        self.timeout = timeout
        self._given = token or os.environ.get('HELM_TOKEN') or None
        self._begin()
        _loggers.add(self)
        atexit.register(_at_exit, weakref.ref(self))

    def _begin(self):
        """What a process has of its own: begun anew in the child of a fork."""
        self.sender = '%s/%s' % (self.service_name, uuid.uuid4().hex)
        #: What the last batch was sent with: 'HELM_TOKEN', 'core' or 'none'; None before the first one.
        self.auth = None
        #: Entries that were dropped: the queue was full, or Helm refused their batch for ever.
        self.dropped = 0
        #: Entries that Helm refused, each by itself.
        self.rejected = 0
        # Reentrant: a signal may come while an entry is put into the queue, and its handler may log.
        self._changed = threading.Condition(threading.RLock())
        self._queue = collections.deque()
        self._bytes = 0
        self._untold = 0
        self._sending = 0
        self._hurry = False
        self._closed = False
        self._thread = None
        self._sequence = 0
        self._token = None
        self._token_until = 0.0

    # Logging

    def log(self, level, message, context=None, trace_id=None, user_id=None):
        """Puts an entry into the queue. Never waits, never raises."""
        entry = {
            'timestamp': datetime.now(timezone.utc).isoformat(),
            'level': str(level).upper(),
            'message': message if isinstance(message, str) else str(message),
            'context': context if context is not None else {},
            'hostname': _hostname(),
            'process_id': os.getpid(),
        }
        if trace_id is not None:
            entry['trace_id'] = str(trace_id)
        if user_id is not None:
            entry['user_id'] = str(user_id)
        self._put(_encoded(entry))

    def debug(self, message, context=None, trace_id=None, user_id=None):
        self.log('DEBUG', message, context, trace_id, user_id)

    def info(self, message, context=None, trace_id=None, user_id=None):
        self.log('INFO', message, context, trace_id, user_id)

    def warning(self, message, context=None, trace_id=None, user_id=None):
        self.log('WARNING', message, context, trace_id, user_id)

    def error(self, message, context=None, trace_id=None, user_id=None):
        self.log('ERROR', message, context, trace_id, user_id)

    def critical(self, message, context=None, trace_id=None, user_id=None):
        self.log('CRITICAL', message, context, trace_id, user_id)

    def flush(self, timeout=5.0):
        """Sends what waits. True: Helm has all that was logged before; False: not within `timeout` seconds."""
        until = time.monotonic() + timeout
        with self._changed:
            self._start()
            self._hurry = True
            self._changed.notify_all()
            while self._queue or self._sending:
                left = until - time.monotonic()
                if left <= 0 or self._thread is None:
                    self._hurry = False
                    return False
                self._changed.wait(left)
            return True

    def close(self, timeout=5.0):
        """Flushes, and ends the thread. What is logged afterwards is dropped and counted."""
        if self._closed:
            return not self._queue and not self._sending
        done = self.flush(timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        return done

    shutdown = close

    # The queue

    def _put(self, entry):
        with self._changed:
            full = len(self._queue) >= self.capacity or self._bytes + len(entry) > _QUEUE_BYTES
            if full or self._closed:
                self.dropped += 1
                self._untold += 1
                return
            self._queue.append(entry)
            self._bytes += len(entry)
            if self._thread is None:
                self._start()
            if len(self._queue) in (1, self.batch_size):
                self._changed.notify_all()

    def _start(self):
        """Starts the thread, unless there is one. With the lock."""
        if self._thread is not None or self._closed or not self._queue:
            return
        thread = threading.Thread(target=self._run, name='helm_logger', daemon=True)
        # Before it runs: a signal handler that logs meanwhile must not start another one.
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is ending: nobody is left who could send.
            self._thread = None

    def _take(self):
        """The next batch, when it is due; None: the logger is closed and the queue is empty."""
        with self._changed:
            while not self._queue:
                self._hurry = False
                if self._closed:
                    return None
                self._changed.wait()
            until = time.monotonic() + self.flush_interval
            while len(self._queue) < self.batch_size and not self._hurry and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            batch, size = [], 0
            while self._queue and len(batch) < self.batch_size and size < _BATCH_BYTES:
                entry = self._queue.popleft()
                size += len(entry)
                batch.append(entry)
            self._bytes -= size
            untold, self._untold = self._untold, 0
            if untold:
                batch.append(_encoded(self._notice(untold)))
            self._sending = len(batch)
            return batch

    def _notice(self, count):
        return {
            'timestamp': datetime.now(timezone.utc).isoformat(),
            'level': 'WARNING',
            'message': 'helm_logger dropped %d entries: Helm did not take them in time' % count,
            'context': {'dropped': count, 'logger': 'helm_logger'},
            'hostname': _hostname(),
            'process_id': os.getpid(),
        }

    # The thread

    def _run(self):
        while True:
            batch = self._take()
            if batch is None:
                return
            self._sequence += 1
            self._deliver(batch)
            with self._changed:
                self._sending = 0
                self._changed.notify_all()

    def _deliver(self, batch):
        """Sends a batch until Helm has it, or says that it never will."""
        name = json.dumps(self.service_name)
        body = ('{"service_name":%s,"logs":[%s]}' % (name, ','.join(batch))).encode('utf-8')
        pause, told = _PAUSE[0], False
        while True:
            try:
                hopeless = self._send(body)
                if hopeless:
                    _log.error('Helm refused %d entries, they are dropped: %s', len(batch), hopeless)
                    with self._changed:
                        self.dropped += len(batch)
                        self._untold += len(batch)
                elif told:
                    _log.warning('Helm takes the log again')
                return
            except (_Failed, OSError, http.client.HTTPException, ValueError) as error:
                if not told:
                    _log.warning('the log does not reach Helm at %s, it is tried again: %s', self.helm_url, error)
                    told = True
                after = getattr(error, 'after', None)
            # Services that lost Helm at the same moment do not come back at the same moment.
            self._sleep(after if after is not None else pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _PAUSE[1])

    def _sleep(self, seconds):
        """Pauses; less long when somebody waits for a flush."""
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                left = until - time.monotonic()
                if self._hurry or self._closed:
                    left = min(left, _PAUSE[0] - (seconds - left))
                if left <= 0:
                    return
                self._changed.wait(left)

    def _send(self, body):
        """One try. Returns why the batch is refused for ever, or None: Helm has it."""
        token = self._authorize()
        headers = {
            'Content-Type': 'application/json',
            'X-Helm-Sender': self.sender,
            'X-Helm-Sequence': str(self._sequence),
        }
        if token:
            headers['Authorization'] = 'Bearer ' + token
        status, answer, after = _post(self.helm_url, '/api/logs/ingest', body, headers, self.timeout)
        if status == 200:
            self.rejected += _rejected(answer)
            return None
        said = '%d %s' % (status, answer[:200].decode('utf-8', 'replace'))
        if status in _HOPELESS:
            return said
        if status == 401:
            self._token = None
        raise _Failed(said, after)

    # The token

    def _authorize(self):
        if self._given:
            self._says('HELM_TOKEN')
            return self._given
        if self._token is None or time.monotonic() >= self._token_until:
            self._token = self._of_core()
            self._token_until = time.monotonic() + (_TOKEN_LIFE if self._token else _NO_TOKEN)
        self._says('core' if self._token else 'none')
        return self._token

    def _of_core(self):
        asked = {'calling_service': self.service_name, 'target_service': 'helm'}
        headers = {'Content-Type': 'application/json'}
        try:
            status, answer, _ = _post(self.core_url, '/service-token', json.dumps(asked).encode(), headers,
                                      self.timeout)
            token = json.loads(answer.decode('utf-8')).get('token') if status == 200 else None
            return token if isinstance(token, str) else None
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            return None

    def _says(self, auth):
        if auth != self.auth:
            self.auth = auth
            _log.info('%s: the log goes to %s %s', self.service_name, self.helm_url, {
                'HELM_TOKEN': 'with the token in HELM_TOKEN',
                'core': 'with a service token of Core',
                'none': 'without a token: Core gave none, and HELM_TOKEN is not set',
            }[auth])


class HelmLogHandler(logging.Handler):
    """A handler for Python's logging, and so for Flask."""

    #: Attributes that every record has: what is not among them was given as `extra`.
    _OWN = frozenset(vars(logging.makeLogRecord({}))) | {'message', 'asctime', 'taskName'}

    def __init__(self, service_name, helm_url=None, level=logging.NOTSET, **options):
        """service_name: as for HelmLogger, or a HelmLogger."""
        super().__init__(level)
        if isinstance(service_name, HelmLogger):
            self.helm_logger = service_name
        else:
            self.helm_logger = HelmLogger(service_name, helm_url, **options)

    def emit(self, record):
        # Its own words about Helm must not go to Helm.
        if record.name == _log.name:
            return
        try:
            context = {
                'logger': record.name, 'module': record.module, 'filename': record.filename,
                'function': record.funcName, 'line': record.lineno,
            }
            given = vars(record)
            context.update((key, value) for key, value in given.items()
                           if key not in self._OWN and key not in ('trace_id', 'user_id'))
            self.helm_logger.log(_level(record.levelno), self.format(record), context,
                                 given.get('trace_id'), given.get('user_id'))
        except Exception:
            self.handleError(record)

    def flush(self):
        # logging flushes handlers from wherever it likes; only a HelmLogger's own flush waits.
        pass


def _level(number):
    for least, word in ((50, 'CRITICAL'), (40, 'ERROR'), (30, 'WARNING'), (20, 'INFO')):
        if number >= least:
            return word
    return 'DEBUG'


def _encoded(entry):
    """An entry as JSON text, whatever was put into it, and within bounds."""
    try:
        text = json.dumps(entry, default=str)
    except Exception:
        # Something in the context refers to itself, or does not even give a text.
        entry['context'] = {'helm_logger': traceback.format_exc(limit=1).strip().splitlines()[-1]}
        text = json.dumps(entry)
    if len(text) > _ENTRY_BYTES:
        length = len(entry['message'])
        entry['message'] = entry['message'][:_ENTRY_BYTES // 8]
        entry['context'] = {'helm_logger': 'cut', 'message_length': length}
        text = json.dumps(entry)
    return text


def _rejected(answer):
    try:
        told = json.loads(answer.decode('utf-8'))
        return int(told.get('rejected_total', len(told.get('rejected', ()))))
    except (ValueError, AttributeError, TypeError):
        return 0


def _post(url, path, body, headers, timeout):
    """Status, answer, and after how many seconds to come again, if that was said."""
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == 'https' else http.client.HTTPConnection
    connection = kind(parts.hostname or 'localhost', parts.port, timeout=timeout)
    try:
        connection.request('POST', parts.path.rstrip('/') + path, body, headers)
        response = connection.getresponse()
        answer = response.read(1 << 20)
        after = response.getheader('Retry-After') or ''
        return response.status, answer, min(float(after), 60.0) if after.isdigit() else None
    finally:
        connection.close()


_host = None


def _hostname():
    global _host
    if _host is None:
        _host = socket.gethostname()
    return _host


def _at_exit(reference):
    logger = reference()
    if logger is not None:
        logger.close()


def _in_child():
    """What waited when the process forked is the parent's to send; its thread and its locks are not in the child."""
    for logger in list(_loggers):
        logger._begin()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_in_child)
