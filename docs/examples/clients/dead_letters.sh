#!/bin/sh
# Shows with Kafka's console tool what could not be scored: headers (origin, reason, what was expected), tab, key, tab,
# the message as it came. Further options are passed on, such as --max-messages 10.
exec kafka-console-consumer.sh \
  --bootstrap-server "${KAFKA_SERVERS:-127.0.0.1:9092}" \
  --topic "${DEAD_LETTERS_TOPIC:-dead-letters}" \
  --from-beginning \
  --isolation-level read_committed \
  --property print.headers=true \
  --property print.key=true \
  "$@"
