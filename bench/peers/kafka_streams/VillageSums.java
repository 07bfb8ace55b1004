import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Properties;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The job of the peers with Kafka Streams: drop repeats, send on by village, add up by village and type.
 *
 * <p>Arguments: servers, topic of events, name of the run, folder for the stores, "at-least-once" or "exactly-once".
 * Stores are RocksDB with their changelogs; everything not set below is Kafka Streams' default (commits every 30 s, with
 * exactly-once every 100 ms). Runs until it is killed.
 */
public final class VillageSums {
    private static final int THREADS = 2;
    private static final byte[] SEEN = {1};

    public static void main(String[] arguments) {
        String events = arguments[1];
        String name = arguments[2];
        boolean exactlyOnce = arguments[4].equals("exactly-once");
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[3]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, THREADS);
        settings.put(
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                exactlyOnce ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        new KafkaStreams(topology(events, name + "-by-village", name + "-totals"), settings).start();
    }

    private static Topology topology(String events, String byVillage, String totals) {
        StringSerializer text = new StringSerializer();
        StringDeserializer fromText = new StringDeserializer();
        return new Topology()
                .addSource("events", new ByteArrayDeserializer(), new ByteArrayDeserializer(), events)
                .addProcessor("once", Once::new, "events")
                .addStateStore(
                        Stores.keyValueStoreBuilder(
                                Stores.persistentKeyValueStore("seen"), Serdes.String(), Serdes.ByteArray()),
                        "once")
                .addSink("by-village", byVillage, text, text, "once")
                .addSource("villages", fromText, fromText, byVillage)
                .addProcessor("sum", Sum::new, "villages")
                .addStateStore(
                        Stores.keyValueStoreBuilder(
                                Stores.persistentKeyValueStore("sums"), Serdes.String(), Serdes.Long()),
                        "sum")
                .addSink("totals", totals, text, text, "sum");
    }

    /** Stage 1: each event once, by source and id. */
    private static final class Once extends ContextualProcessor<byte[], byte[], String, String> {
        private final ObjectMapper json = new ObjectMapper();
        private KeyValueStore<String, byte[]> seen;

        @Override
        public void init(ProcessorContext<String, String> context) {
            super.init(context);
            seen = context.getStateStore("seen");
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            JsonNode event;
            try {
                event = json.readTree(record.value());
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            String name = event.get("source").textValue() + " " + event.get("id").textValue();
            if (seen.putIfAbsent(name, SEEN) == null) {
                String village = event.get("data").path("region").asText("none");
                context().forward(new Record<>(village, event.get("type").textValue(), record.timestamp()));
            }
        }
    }

    /** Stage 2: the total of each village and type, as it stands after each event. */
    private static final class Sum extends ContextualProcessor<String, String, String, String> {
        private KeyValueStore<String, Long> sums;

        @Override
        public void init(ProcessorContext<String, String> context) {
            super.init(context);
            sums = context.getStateStore("sums");
        }

        @Override
        public void process(Record<String, String> record) {
            String name = record.key() + " " + record.value();
            Long before = sums.get(name);
            long total = before == null ? 1 : before + 1;
            sums.put(name, total);
            context().forward(record.withValue(name + " " + total));
        }
    }
}
