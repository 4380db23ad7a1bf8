"""Asks a server through prometheus-api-client and prints what it says, a line per question."""

import datetime
import json
import sys

from prometheus_api_client import PrometheusApiClientException, PrometheusConnect


def show(name, value):
    if isinstance(value, list):
        value = sorted(value, key=lambda item: json.dumps(item, sort_keys=True))
    print(name, json.dumps(value, sort_keys=True))


url, start, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
first = datetime.datetime.fromtimestamp(start)
last = datetime.datetime.fromtimestamp(end)
server = PrometheusConnect(url=url)

show("metrics", [name for name in server.all_metrics() if not name.startswith(("scrape_", "ALERTS"))])
show("labels", server.get_label_names(params={"match[]": "requests_total"}))
show("values", server.get_label_values("code"))
show("job", server.get_label_values("job", params={"match[]": "requests_total"}))
show("query", server.custom_query("sum by (code) (requests_total)", params={"time": end}))
show("scalar", server.custom_query("1 + 1", params={"time": end}))
show("range", server.custom_query_range("rate(requests_total[1m])", first, last, "60"))
show("current", server.get_current_metric_value("requests_total", {"code": "500"}, params={"time": end}))
show("chunks", server.get_metric_range_data("requests_total", {"method": "get"}, first, last, datetime.timedelta(minutes=2)))
show("pools", server.get_scrape_pools())
show("targets", [target["labels"] for target in server.get_targets()["activeTargets"]])
try:
    server.custom_query("sum(")
except PrometheusApiClientException as error:
    show("refused", str(error).split()[2])
