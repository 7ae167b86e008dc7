"""python3 -m unittest discover clients/python"""

import ast
import http.server
import json
import logging
import os
import subprocess
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import helm_logger  # noqa: E402
from helm_logger import HelmLogger, HelmLogHandler  # noqa: E402

#: How long anything may take; a test that has to wait so long has failed.
LONG = 30.0


class Stub:
    """Helm and Core in one: keeps entries as Helm does, and answers as it is told to."""

    def __init__(self):
        #: Entries, each batch once; requests as they came.
        self.entries, self.requests, self.tokens = [], [], []
        #: Answers to the next requests: a status, a status with a Retry-After, 'cut' (kept, but the answer is lost). Then 200.
        self.answers = []
        #: Whether Core gives tokens.
        self.core = False
        self.seen = set()
        self.changed = threading.Condition()
        #: Requests that came; while the gate is closed they are not answered.
        self.came = 0
        self.gate = threading.Event()
        self.gate.set()
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                if self.path == '/service-token':
                    return self.token(body)
                with stub.changed:
                    stub.came += 1
                    stub.changed.notify_all()
                stub.gate.wait(LONG)
                self.ingest(body)

            def token(self, body):
                with stub.changed:
                    stub.tokens.append(body)
                    number = len(stub.tokens)
                self.answer(200 if stub.core else 503, {'token': 'core-%d' % number} if stub.core else {})

            def ingest(self, body):
                with stub.changed:
                    told = stub.answers.pop(0) if stub.answers else 200
                    sender, number = self.headers['X-Helm-Sender'], int(self.headers['X-Helm-Sequence'])
                    stub.requests.append({'path': self.path, 'sender': sender, 'sequence': number, 'service': body['service_name'],
                                          'auth': self.headers['Authorization'], 'entries': len(body['logs'])})
                    if told in (200, 'cut') and (sender, number) not in stub.seen:
                        stub.seen.add((sender, number))
                        stub.entries.extend(body['logs'])
                    stub.changed.notify_all()
                if told == 'cut':
                    self.connection.close()
                    return
                status, after = told if isinstance(told, tuple) else (told, None)
                self.answer(status, {'success': True, 'ingested': len(body['logs'])}, after)

            def answer(self, status, body, after=None):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header('Content-Length', str(len(text)))
                if after is not None:
                    self.send_header('Retry-After', after)
                self.end_headers()
                self.wfile.write(text)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(('127.0.0.1', 0), Handler)
        self.url = 'http://127.0.0.1:%d' % self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def wait(self, what):
        with self.changed:
            assert self.changed.wait_for(what, LONG), 'not within %s s: %r' % (LONG, self.requests)

    def messages(self):
        with self.changed:
            return [entry['message'] for entry in self.entries]


class Case(unittest.TestCase):
    def setUp(self):
        self.stub = Stub()
        self.addCleanup(self.stub.close)
        for name in ('HELM_TOKEN', 'HELM_SERVICE_URL', 'CORE_SERVICE_URL'):
            os.environ.pop(name, None)
        self.pause, helm_logger._PAUSE = helm_logger._PAUSE, (0.01, 0.05)
        self.addCleanup(setattr, helm_logger, '_PAUSE', self.pause)
        logging.getLogger('helm_logger').setLevel(logging.CRITICAL + 1)

    def logger(self, **options):
        options.setdefault('core_url', self.stub.url)
        logger = HelmLogger('codex', options.pop('helm_url', self.stub.url), **options)
        self.addCleanup(logger.close, 0)
        return logger

    def flush(self, logger):
        self.assertTrue(logger.flush(LONG), self.stub.requests)


class Sending(Case):
    def test_the_readmes_example(self):
        logger = self.logger()
        logger.info('Service started', context={'version': '1.0'})
        logger.error('Database connection failed', trace_id='abc-123', user_id='admin@example.com')
        logger.warning('Rate limit approaching', context={'current': 90, 'max': 100})
        logger.debug('d')
        logger.critical('c')
        self.flush(logger)
        first, second = self.stub.entries[:2]
        self.assertEqual([e['level'] for e in self.stub.entries], ['INFO', 'ERROR', 'WARNING', 'DEBUG', 'CRITICAL'])
        self.assertEqual((first['message'], first['context']), ('Service started', {'version': '1.0'}))
        self.assertTrue(first['timestamp'].endswith('+00:00'), first)
        self.assertEqual((first['process_id'], 'trace_id' in first), (os.getpid(), False))
        self.assertEqual((second['trace_id'], second['user_id']), ('abc-123', 'admin@example.com'))
        self.assertEqual({(r['path'], r['service']) for r in self.stub.requests}, {('/api/logs/ingest', 'codex')})

    def test_everything_comes_once_and_in_order(self):
        logger = self.logger(batch_size=7)
        for n in range(500):
            logger.info(str(n))
        self.flush(logger)
        self.assertEqual(self.stub.messages(), [str(n) for n in range(500)])
        self.assertEqual([r['sequence'] for r in self.stub.requests], list(range(1, len(self.stub.requests) + 1)))
        self.assertLessEqual(max(r['entries'] for r in self.stub.requests), 7)

    def test_many_threads(self):
        logger = self.logger()
        threads = [threading.Thread(target=lambda t=t: [logger.info('%d %d' % (t, n)) for n in range(200)]) for t in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.flush(logger)
        self.assertEqual(sorted(self.stub.messages()), sorted('%d %d' % (t, n) for t in range(8) for n in range(200)))

    def test_what_is_no_json_is_sent_all_the_same(self):
        logger = self.logger()
        circle = {}
        circle['self'] = circle

        class Odd:
            def __str__(self):
                raise RuntimeError('odd')

        logger.info(17, context={'path': os, 'n': float('nan')})
        logger.info('circle', context=circle)
        logger.info('odd', context={'odd': Odd()})
        logger.info('long ' * 100000)
        logger.info('lone \ud800')
        self.flush(logger)
        number, circle, odd, long, lone = self.stub.entries
        self.assertEqual(number['message'], '17')
        self.assertIn('module', number['context']['path'])
        self.assertIn('Circular', circle['context']['helm_logger'])
        self.assertIn('odd', odd['context']['helm_logger'])
        self.assertEqual(long['context'], {'helm_logger': 'cut', 'message_length': 500000})
        self.assertEqual(lone['message'], 'lone \ud800')

    def test_a_name_that_helm_refuses_is_refused_at_once(self):
        for name in ('', 'Codex', 'a b', 'a' * 51):
            with self.assertRaises(ValueError):
                HelmLogger(name)

    def test_it_runs_with_python_3_8(self):
        with open(os.path.join(HERE, 'helm_logger.py')) as source:
            ast.parse(source.read(), feature_version=(3, 8))


class Retrying(Case):
    def test_a_batch_is_sent_again_under_its_number_until_helm_has_it(self):
        self.stub.answers = [503, (429, '0'), 'cut', 500, 200]
        logger = self.logger()
        logger.info('a')
        self.flush(logger)
        logger.info('b')
        self.flush(logger)
        self.assertEqual(self.stub.messages(), ['a', 'b'])
        self.assertEqual([r['sequence'] for r in self.stub.requests], [1, 1, 1, 1, 1, 2])
        self.assertEqual((logger.dropped, len({r['sender'] for r in self.stub.requests})), (0, 1))

    def test_a_helm_that_is_not_there_yet_is_waited_for(self):
        self.stub.close()
        logger = self.logger(core_url='http://127.0.0.1:1')
        logger.info('early')
        self.assertFalse(logger.flush(0.1))
        late = Stub()
        self.addCleanup(late.close)
        logger.helm_url = late.url
        self.flush(logger)
        self.assertEqual(late.messages(), ['early'])

    def test_a_batch_that_helm_will_never_take_holds_nobody_up(self):
        self.stub.answers = [400]
        logger = self.logger()
        logger.info('bad')
        self.flush(logger)
        logger.info('good')
        self.flush(logger)
        said = self.stub.messages()
        self.assertEqual((said[0], logger.dropped), ('good', 1))
        self.assertIn('dropped 1 entries', said[1])

    def test_what_finds_the_queue_full_is_counted_and_told(self):
        self.stub.gate.clear()
        logger = self.logger(batch_size=1, capacity=10)
        logger.info('0')
        # Its batch is under way: nothing of what follows is taken.
        self.stub.wait(lambda: self.stub.came == 1)
        for n in range(1, 26):
            logger.info(str(n))
        self.assertEqual(logger.dropped, 15)
        self.stub.gate.set()
        self.flush(logger)
        notice = [entry for entry in self.stub.entries if entry['context'].get('dropped')]
        self.assertEqual([entry['context']['dropped'] for entry in notice], [15])
        self.assertEqual([m for m in self.stub.messages() if m.isdigit()], [str(n) for n in range(11)])

    def test_rejected_entries_are_counted(self):
        self.assertEqual(helm_logger._rejected(b'{"rejected":[{"index":1}],"rejected_total":5}'), 5)
        self.assertEqual(helm_logger._rejected(b'{"rejected":[{"index":1}]}'), 1)
        for other in (b'', b'[]', b'{}', b'null'):
            self.assertEqual(helm_logger._rejected(other), 0)


class Tokens(Case):
    def test_the_one_in_the_environment_comes_first(self):
        os.environ['HELM_TOKEN'] = 'mine'
        self.addCleanup(os.environ.pop, 'HELM_TOKEN')
        self.stub.core = True
        logger = self.logger()
        logger.info('a')
        self.flush(logger)
        self.assertEqual((self.stub.requests[0]['auth'], logger.auth, self.stub.tokens), ('Bearer mine', 'HELM_TOKEN', []))

    def test_cores_is_kept_and_replaced_when_helm_refuses_it(self):
        self.stub.core = True
        logger = self.logger()
        for n in range(3):
            logger.info(str(n))
            self.flush(logger)
        self.assertEqual(self.stub.tokens, [{'calling_service': 'codex', 'target_service': 'helm'}])
        self.stub.answers = [401]
        logger.info('3')
        self.flush(logger)
        self.assertEqual([r['auth'] for r in self.stub.requests], ['Bearer core-1'] * 4 + ['Bearer core-2'])
        self.assertEqual((self.stub.messages(), logger.auth), (['0', '1', '2', '3'], 'core'))

    def test_without_core_there_is_none_and_it_is_said(self):
        log = logging.getLogger('helm_logger')
        log.setLevel(logging.INFO)
        with self.assertLogs(log, logging.INFO) as said:
            logger = self.logger()
            logger.info('a')
            logger.flush(LONG)
            logger.info('b')
            logger.flush(LONG)
        self.assertEqual([r['auth'] for r in self.stub.requests], [None, None])
        self.assertEqual(logger.auth, 'none')
        self.assertEqual(len([line for line in said.output if 'without a token' in line]), 1)


class Handling(Case):
    def setUp(self):
        super().setUp()
        self.log = logging.Logger('shop.till')
        self.handler = HelmLogHandler('codex', self.stub.url, core_url=self.stub.url)
        self.log.addHandler(self.handler)
        self.addCleanup(self.handler.helm_logger.close, 0)

    def sent(self):
        self.flush(self.handler.helm_logger)
        return self.stub.entries

    def test_a_record_with_all_that_belongs_to_it(self):
        self.log.warning('with %s', 'words', extra={'order': 17, 'trace_id': 't', 'user_id': 'u'})
        entry, = self.sent()
        self.assertEqual((entry['level'], entry['message'], entry['trace_id'], entry['user_id']), ('WARNING', 'with words', 't', 'u'))
        context = entry['context']
        self.assertEqual((context['logger'], context['order'], context['function']), ('shop.till', 17, 'test_a_record_with_all_that_belongs_to_it'))
        self.assertEqual(set(context), {'logger', 'module', 'filename', 'function', 'line', 'order'})

    def test_an_exception_comes_with_its_traceback(self):
        try:
            raise KeyError('x')
        except KeyError:
            self.log.exception('it broke')
        entry, = self.sent()
        self.assertTrue(entry['message'].startswith('it broke\nTraceback'), entry)
        self.assertTrue(entry['message'].endswith("KeyError: 'x'"), entry)

    def test_levels_of_others_become_helms(self):
        for level in (1, 10, 15, 20, 25, 30, 40, 50, 99):
            self.log.log(level, 'm')
        words = 'DEBUG DEBUG DEBUG INFO INFO WARNING ERROR CRITICAL CRITICAL'.split()
        self.assertEqual([entry['level'] for entry in self.sent()], words)

    def test_its_own_words_do_not_go_round_in_circles(self):
        self.stub.answers = [503, 400]
        own = logging.getLogger('helm_logger')
        own.setLevel(logging.DEBUG)
        own.addHandler(self.handler)
        own.propagate = False
        self.addCleanup(own.removeHandler, self.handler)
        self.addCleanup(setattr, own, 'propagate', True)
        self.log.info('a')
        self.flush(self.handler.helm_logger)
        self.log.info('b')
        self.assertEqual([e['message'] for e in self.sent()][0], 'b')
        self.assertEqual(len(self.stub.entries), 2)

    def test_several_handlers_share_a_logger(self):
        other = HelmLogHandler(self.handler.helm_logger, level=logging.ERROR)
        self.log.addHandler(other)
        self.log.error('twice')
        self.assertEqual(len(self.sent()), 2)


class Processes(Case):
    def run_python(self, program):
        environment = dict(os.environ, PYTHONPATH=HERE, HELM_SERVICE_URL=self.stub.url, CORE_SERVICE_URL=self.stub.url)
        done = subprocess.run([sys.executable, '-c', program], env=environment, timeout=LONG, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, universal_newlines=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_a_program_that_ends_at_once_loses_nothing(self):
        self.run_python('from helm_logger import HelmLogger\nlogger = HelmLogger("codex")\nfor n in range(1000): logger.info(str(n))\n')
        self.assertEqual(self.stub.messages(), [str(n) for n in range(1000)])

    def test_a_fork_sends_under_a_name_of_its_own_and_doubles_nothing(self):
        # As gunicorn --preload does it: the logger is there, and has been used, when the workers are forked.
        program = '''
import os, sys
from helm_logger import HelmLogger
logger = HelmLogger("codex", flush_interval=60)
logger.info("before")
children = []
for n in range(4):
    pid = os.fork()
    if pid == 0:
        logger.info("child %d" % n)
        sys.exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
logger.info("after")
'''
        self.run_python(program)
        self.assertEqual(sorted(self.stub.messages()), ['after', 'before', 'child 0', 'child 1', 'child 2', 'child 3'])
        self.assertEqual(len({r['sender'] for r in self.stub.requests}), 5)
        self.assertEqual({r['sequence'] for r in self.stub.requests}, {1})

    def test_a_helm_that_hangs_does_not_keep_a_program_from_ending(self):
        self.stub.gate.clear()
        said = self.run_python('from helm_logger import HelmLogger\nlogger = HelmLogger("codex", timeout=60)\nlogger.info("a")\n'
                               'print(logger.close(0.1))\n')
        self.assertIn('False', said)

    def test_a_signal_handler_may_log(self):
        program = '''
import signal, os
from helm_logger import HelmLogger
logger = HelmLogger("codex", capacity=1000000)
signal.signal(signal.SIGALRM, lambda *_: logger.info("signal"))
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for n in range(3000): logger.info("line")
signal.setitimer(signal.ITIMER_REAL, 0)
assert logger.flush(30)
'''
        self.run_python(program)
        self.assertEqual(self.stub.messages().count('line'), 3000)


if __name__ == '__main__':
    unittest.main()
