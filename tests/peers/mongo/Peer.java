import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;

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

        MemoryBackend backend = new MemoryBackend();
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
            // Everything is in memory: there is nothing to close in good order, and a busy client must not delay the end.
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
}
