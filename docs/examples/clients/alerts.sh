#!/bin/sh
# Shows alerts with Kafka's console tool, each exactly once: user_id, tab, verdict. Further options are passed on:
#
#   ./alerts.sh --max-messages 10 | cut -f 2 | jq '{user_id, anomaly_score, explanation}'
exec kafka-console-consumer.sh \
  --bootstrap-server "${KAFKA_SERVERS:-127.0.0.1:9092}" \
  --topic "${ALERTS_TOPIC:-alerts}" \
  --from-beginning \
  --isolation-level read_committed \
  --property print.key=true \
  "$@"
