package oracle;

import ca.uhn.fhir.rest.server.RestfulServer;
import java.net.InetSocketAddress;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/**
 * Boots HAPI FHIR JPA (R4, H2 in memory) on a loopback port and prints {@code READY <base>} when it answers.
 *
 * <p>Takes one argument, the port (0: chosen by the operating system). Runs until it is killed or until its standard
 * input, when {@code --until-stdin-closes} is given, comes to its end. It has no authorization of its own: that is the point.
 */
public final class Oracle {

    private Oracle() {}

    public static void main(String[] arguments) throws Exception {
        int port = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 0;
        boolean untilStdinCloses = arguments.length > 1 && arguments[1].equals("--until-stdin-closes");

        AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext(OracleConfig.class);

        Server server = new Server(new InetSocketAddress("127.0.0.1", port));
        ServletContextHandler handler = new ServletContextHandler();
        handler.setContextPath("/");
        handler.addServlet(new ServletHolder(context.getBean(RestfulServer.class)), "/fhir/*");
        server.setHandler(handler);
        server.start();

        System.out.println("READY http://127.0.0.1:" + server.getURI().getPort() + "/fhir");
        System.out.flush();
        if (untilStdinCloses) {
            while (System.in.read() >= 0) {
                // input is ignored, only its end counts
            }
            System.exit(0);
        }
        server.join();
    }
}
