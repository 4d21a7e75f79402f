import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.KeyValue;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.backend.memory.MemoryDatabase;
import de.bwaldvogel.mongo.backend.memory.index.MemoryUniqueIndex;
import de.bwaldvogel.mongo.bson.Document;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Something that speaks MongoDB's wire protocol, for tests on machines where no mongod can be had.
 *
 * <p>It is nobody's mock of this service: an independent implementation, in memory. It is laxer than MongoDB, so what
 * passes here must also be documented behaviour of MongoDB 7 and 8.
 *
 * <p>{@code Peer [--port N] [--exit-with-stdin]}; port 0, the default, means any free one. Prints {@code listening
 * 127.0.0.1:PORT} when ready. With {@code --exit-with-stdin} it ends when its standard input does, so that a test that
 * dies leaves no server behind.
 */
public final class Peer {
    /** The server's own newest version reports wire version 8, which current drivers refuse. */
    private static final MongoVersion VERSION = new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0, 0);
        }

        @Override
        public String toVersionString() {
            return "5.0.0";
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    };

    public static void main(String[] args) throws IOException {
        int port = 0;
        boolean exitWithStdin = false;
        for (int i = 0; i < args.length; i++) {
            if (args[i].equals("--port") && i + 1 < args.length) {
                port = Integer.parseInt(args[++i]);
            } else if (args[i].equals("--exit-with-stdin")) {
                exitWithStdin = true;
            } else {
                System.err.println("usage: Peer [--port N] [--exit-with-stdin]");
                System.exit(2);
            }
        }

        MemoryBackend backend = new Backend();
        backend.version(VERSION);
        MongoServer server = new MongoServer(backend);
        try {
            server.bind(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port));
        } catch (Exception e) {
            System.err.println("cannot listen on 127.0.0.1:" + port + ": " + e.getMessage());
            System.exit(1);
        }
        System.out.println("listening 127.0.0.1:" + server.getLocalAddress().getPort());
        System.out.flush();

        if (exitWithStdin) {
            waitForEnd(System.in);
            // All is in memory: there is nothing to close in good order, and no busy client shall delay the end.
            Runtime.getRuntime().halt(0);
        }
    }

    private static void waitForEnd(InputStream in) {
        byte[] buffer = new byte[256];
        try {
            while (in.read(buffer) >= 0) {
                // Whatever is said is ignored; only the end counts.
            }
        } catch (IOException e) {
            // A broken stdin has ended too.
        }
    }

    /** Makes unique indexes of the kind below; in all else the memory backend as it comes. */
    private static final class Backend extends MemoryBackend {
        @Override
        public MemoryDatabase openOrCreateDatabase(String databaseName) {
            return new Database(databaseName, getCursorRegistry());
        }
    }

    private static final class Database extends MemoryDatabase {
        Database(String databaseName, CursorRegistry cursors) {
            super(databaseName, cursors);
        }

        @Override
        protected Index<Integer> openOrCreateUniqueIndex(
                String collectionName, String indexName, List<IndexKey> keys, boolean sparse) {
            return new PrefixIndex(indexName, keys, sparse);
        }
    }

    /**
     * An index that also serves queries that fix its first field and say more, or less, than its key: {@code {_id,
     * version}} by {@code {_id}}, and {@code {appointment_id}} by {@code {appointment_id, incarnation}}. The original
     * scans the whole collection for these, which MongoDB does not, and a million documents are then past measuring.
     *
     * <p>It only narrows what is looked at. What matches is still decided by the server, document by document, under
     * the same lock.
     */
    private static final class PrefixIndex extends MemoryUniqueIndex {
        private final String first;
        private final boolean compound;
        private final Map<Object, Set<Integer>> byFirst = new ConcurrentHashMap<>();

        PrefixIndex(String name, List<IndexKey> keys, boolean sparse) {
            super(name, keys, sparse);
            this.first = keys.get(0).getKey();
            this.compound = keys.size() > 1;
        }

        /** Strings only, which equal nothing but themselves; an array's elements have entries of their own. */
        private boolean fixesFirst(Document query) {
            return query.get(first) instanceof String;
        }

        @Override
        public synchronized boolean canHandle(Document query) {
            return super.canHandle(query) || fixesFirst(query);
        }

        @Override
        public synchronized Iterable<Integer> getPositions(Document query) {
            if (super.canHandle(query)) {
                return super.getPositions(query);
            }
            if (compound) {
                return byFirst.getOrDefault(query.get(first), Set.of());
            }
            return super.getPositions(new Document(first, query.get(first)));
        }

        @Override
        protected boolean putKeyPosition(KeyValue key, Integer position) {
            boolean added = super.putKeyPosition(key, position);
            if (added && compound && key.get(0) instanceof String value) {
                byFirst.merge(value, Set.of(position), (old, more) -> {
                    Set<Integer> both = new TreeSet<>(old);
                    both.addAll(more);
                    return both;
                });
            }
            return added;
        }

        @Override
        protected Integer removeDocument(KeyValue key) {
            Integer position = super.removeDocument(key);
            if (position != null && compound && key.get(0) instanceof String value) {
                byFirst.computeIfPresent(value, (v, old) -> {
                    Set<Integer> rest = new TreeSet<>(old);
                    rest.remove(position);
                    return rest.isEmpty() ? null : rest;
                });
            }
            return position;
        }
    }
}
