"""first-status.py PORT: prints the status of `GET /`; fails while the connection is refused."""

import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
connection.request("GET", "/", headers={"Host": "127.0.0.1:" + sys.argv[1]})
answer = connection.getresponse()
print(answer.status, answer.reason)
