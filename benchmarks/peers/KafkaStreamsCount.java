import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Count and sum per user in a cached RocksDB store with changelog, a verdict for each event: one thread, at least once,
 * a commit each second. Everything else is at Kafka Streams' defaults.
 */
public final class KafkaStreamsCount {
    private static final String STORE = "totals";
    private static final double UNUSUAL = 3.0;
    private static final JsonFactory JSON = new JsonFactory();

    public static void main(String[] arguments) {
        var environment = System.getenv();
        var builder = new StreamsBuilder();
        builder.addStateStore(
            Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), Serdes.String(), Serdes.ByteArray())
                .withCachingEnabled());
        builder.stream(environment.get("TRANSACTIONS_TOPIC"), Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .processValues(Judge::new, STORE)
            .to(environment.get("VERDICTS_TOPIC"), Produced.with(Serdes.String(), Serdes.ByteArray()));
        var streams = new KafkaStreams(builder.build(), properties(environment));
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private static Properties properties(Map<String, String> environment) {
        var properties = new Properties();
        properties.put("application.id", environment.get("APP_ID"));
        properties.put("bootstrap.servers", environment.get("KAFKA_SERVERS"));
        properties.put("state.dir", environment.get("DATA_DIR"));
        properties.put("num.stream.threads", 1);
        properties.put("processing.guarantee", "at_least_once");
        properties.put("commit.interval.ms", 1000);
        properties.put("auto.offset.reset", "earliest");
        return properties;
    }

    /** Counts, sums and judges one event. */
    private static final class Judge implements FixedKeyProcessor<String, byte[], byte[]> {
        private FixedKeyProcessorContext<String, byte[]> context;
        private KeyValueStore<String, byte[]> totals;

        @Override
        public void init(FixedKeyProcessorContext<String, byte[]> given) {
            context = given;
            totals = given.getStateStore(STORE);
        }

        @Override
        public void process(FixedKeyRecord<String, byte[]> record) {
            try {
                var transaction = Transaction.decode(record.value());
                byte[] kept = totals.get(transaction.userId);
                var before = kept == null ? null : ByteBuffer.wrap(kept);
                long count = (before == null ? 0 : before.getLong()) + 1;
                long cents = (before == null ? 0 : before.getLong()) + Math.round(transaction.amount * 100);
                totals.put(transaction.userId, ByteBuffer.allocate(16).putLong(count).putLong(cents).array());
                context.forward(record.withValue(verdict(transaction, count, cents / 100.0)));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }

    private static byte[] verdict(Transaction transaction, long count, double sum) throws IOException {
        var bytes = new ByteArrayOutputStream(160);
        try (JsonGenerator json = JSON.createGenerator(bytes)) {
            json.writeStartObject();
            json.writeStringField("transaction_id", transaction.transactionId);
            json.writeStringField("user_id", transaction.userId);
            json.writeNumberField("count", count);
            json.writeNumberField("sum", sum);
            json.writeBooleanField("flagged", transaction.amount > UNUSUAL * sum / count);
            json.writeEndObject();
        }
        return bytes.toByteArray();
    }

    /** The fields that are needed; the others are read over. */
    private static final class Transaction {
        private String transactionId;
        private String userId;
        private double amount;

        private static Transaction decode(byte[] value) throws IOException {
            var transaction = new Transaction();
            try (JsonParser json = JSON.createParser(value)) {
                json.nextToken();
                while (json.nextToken() == JsonToken.FIELD_NAME) {
                    String name = json.currentName();
                    json.nextToken();
                    switch (name) {
                        case "transaction_id" -> transaction.transactionId = json.getText();
                        case "user_id" -> transaction.userId = json.getText();
                        case "amount" -> transaction.amount = json.getDoubleValue();
                        default -> json.skipChildren();
                    }
                }
            }
            return transaction;
        }
    }
}
