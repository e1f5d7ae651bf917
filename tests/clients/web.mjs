// One attempt with a browser's WebSocket, or undici's.
export const attempt = (socket, text) =>
  new Promise((resolve) => {
    let protocol;
    let echo;
    let error = false;
    socket.onopen = () => {
      protocol = socket.protocol;
      socket.send(text);
    };
    socket.onmessage = ({ data }) => {
      echo = data;
      socket.close(1000);
    };
    socket.onerror = () => {
      error = true;
    };
    socket.onclose = ({ code, reason }) => {
      if (protocol === undefined) resolve({ failed: { error, code, reason } });
      else if (echo === undefined) resolve({ closed: { protocol, code, reason } });
      else resolve({ echoed: { protocol, text: echo, code } });
    };
  });
