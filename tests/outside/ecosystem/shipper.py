"""Ships numbered lines with a service's own, unchanged app/helm_logger.py, which never retries: shipper.py DIR SERVICE ROUND COUNT PER_SECOND"""

import importlib.util
import sys
import time

directory, service, turn, count, rate = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
spec = importlib.util.spec_from_file_location("helm_logger", f"{directory}/app/helm_logger.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
logger = module.HelmLogger(service, "http://localhost:5004")
for number in range(count):
    logger.info(f"shipped by {service}, round {turn}, line {number}", {"number": number})
    time.sleep(1 / rate)
# Its shutdown sends only what its thread has taken already.
while not logger.log_queue.empty():
    time.sleep(0.1)
logger.shutdown()
