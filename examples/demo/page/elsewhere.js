// Runs in a sandboxed frame, so its origin is not that of the server. Tries to connect, and says what it saw.
const socket = new WebSocket(`ws://${location.host}/device/laptop/chat/cookie`);
socket.onopen = () => socket.close();
socket.onclose = ({ code, reason }) => parent.postMessage(`close, code ${code}, reason ${JSON.stringify(reason)}`, "*");
