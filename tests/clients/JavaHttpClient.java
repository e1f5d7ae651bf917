// The WebSocket of Java's own HTTP client. Java has no parser of JSON, so the input is split at control characters.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;

final class JavaHttpClient {
    private static final String PING = "ping";

    public static void main(String[] arguments) throws Exception {
        var input = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        var client = HttpClient.newHttpClient();
        for (var attempt : input.split("\u001e")) {
            var fields = attempt.split("\t", -1);
            System.out.println(attempt(client, fields[0], fields[1], fields[2], fields[3]));
        }
    }

    private static String attempt(HttpClient client, String url, String protocols, String headers, String text) {
        var builder = client.newWebSocketBuilder();
        if (!protocols.isEmpty()) {
            var names = protocols.split(",");
            builder.subprotocols(names[0], java.util.Arrays.copyOfRange(names, 1, names.length));
        }
        if (!headers.isEmpty()) {
            for (var header : headers.split("\u001f")) {
                var pair = header.split(": ", 2);
                builder.header(pair[0], pair[1]);
            }
        }
        var seen = new Seen();
        WebSocket socket;
        try {
            socket = builder.buildAsync(URI.create(url), seen).join();
        } catch (CompletionException failure) {
            if (failure.getCause() instanceof WebSocketHandshakeException refusal) {
                return "{\"refused\": {\"status\": %d}}".formatted(refusal.getResponse().statusCode());
            }
            throw failure;
        }
        // A ping, and the text in two frames. These fail if the server has already closed.
        int half = text.length() / 2;
        socket.sendPing(ByteBuffer.wrap(PING.getBytes(StandardCharsets.UTF_8)))
            .thenCompose(sent -> sent.sendText(text.substring(0, half), false))
            .thenCompose(sent -> sent.sendText(text.substring(half), true));
        return seen.outcome(socket.getSubprotocol());
    }

    private static final class Seen implements WebSocket.Listener {
        private final StringBuilder text = new StringBuilder();
        private final CompletableFuture<Void> closed = new CompletableFuture<>();
        private boolean isPonged;
        private boolean isEchoed;
        private int code;
        private String reason;

        String outcome(String protocol) {
            closed.join();
            if (!isEchoed) {
                return "{\"closed\": {\"protocol\": \"%s\", \"code\": %d, \"reason\": \"%s\"}}".formatted(protocol, code, reason);
            }
            if (!isPonged) {
                throw new IllegalStateException("no pong before the echo");
            }
            return "{\"echoed\": {\"protocol\": \"%s\", \"text\": \"%s\", \"code\": %d}}".formatted(protocol, text, code);
        }

        @Override
        public CompletionStage<?> onPong(WebSocket socket, ByteBuffer payload) {
            isPonged |= StandardCharsets.UTF_8.decode(payload).toString().equals(PING);
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean isLast) {
            text.append(part);
            if (isLast) {
                isEchoed = true;
                socket.sendClose(1000, "");
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            this.code = code;
            this.reason = reason;
            closed.complete(null);
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable error) {
            closed.completeExceptionally(error);
        }
    }
}
