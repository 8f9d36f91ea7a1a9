#!/bin/sh
# Produces transactions with Kafka's console tool: lines of user_id, tab, JSON on stdin. A tab cannot stand inside JSON
# text, so it parts key and value for certain; the tool's partitioner is the right one.
#
#   printf 'u1\t{"transaction_id":"t1","user_id":"u1","amount":9.5,"merchant":"Cafe"}\n' | ./produce.sh
exec kafka-console-producer.sh \
  --bootstrap-server "${KAFKA_SERVERS:-127.0.0.1:9092}" \
  --topic "${TRANSACTIONS_TOPIC:-transactions}" \
  --property parse.key=true \
  --property "key.separator=$(printf '\t')" \
  --producer-property enable.idempotence=true \
  "$@"
