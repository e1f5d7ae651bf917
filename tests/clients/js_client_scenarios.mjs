// What a page does with `clients/js`, in Node and in browsers. Each scenario tells what happened.

const LIFETIME = 6000;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Keeps the events of a connection, and waits for them. */
const watch = (connection) => {
  const events = [];
  let look = () => {};
  for (const type of ["open", "message", "close", "session", "refused", "signinneeded", "error"]) {
    connection.addEventListener(type, (event) => {
      events.push(event);
      look();
    });
  }
  const of = (type) => events.filter((event) => event.type === type);
  const until = (type, times) =>
    new Promise((resolve) => {
      look = () => of(type).length >= times && resolve();
      look();
    });
  const closes = () => of("close").map(({ code, reason, action }) => [code, reason, action]);
  const echo = async (text) => {
    const before = of("message").length;
    connection.send(text);
    await until("message", before + 1);
    return of("message").at(-1).data;
  };
  return { of, until, closes, echo };
};

/** `client` is the module, and `native` has what Node lacks. */
export const run = async (client, base, native = {}) => {
  const { AuthEventSource, AuthSocket, cookie, firstMessage, ticket } = client;
  const isPage = native.WebSocket === undefined;
  const socketTo = (path, name, options) =>
    new AuthSocket(`${base}${path}?scenario=${name}`, { baseDelay: 50, stableAfter: 1000, ...native, ...options });
  const post = (path) => fetch(base + path, { method: "POST" });
  const log = async (name) => (await fetch(`${base}/log/${name}`)).json();
  // Tokens of a subject of this name.
  const tokens = (name, lifetime = 60_000) => {
    const token = () => {
      token.asked += 1;
      return `${name}.${Date.now() + lifetime}`;
    };
    return Object.assign(token, { asked: 0 });
  };

  const scenarios = {
    async expiry(name) {
      const token = tokens(name, 3000);
      const socket = socketTo("/socket", name, { token });
      const seen = watch(socket);
      await seen.until("open", 2);
      const echo = await seen.echo("hello");
      socket.close();
      return { echo, asked: token.asked, closes: seen.closes().slice(0, 1), log: await log(name) };
    },

    async refresh(name) {
      const socket = socketTo("/greeted", name, { token: tokens(name, LIFETIME), refresh: true });
      const seen = watch(socket);
      // The greeting, and refreshes after four, eight and twelve seconds.
      await seen.until("session", 4);
      const echo = await seen.echo("still here");
      socket.close();
      return { echo, opens: seen.of("open").length, messages: seen.of("message").length, log: await log(name) };
    },

    async asked(name) {
      const socket = socketTo("/asked", name, { token: tokens(name, LIFETIME), refresh: true });
      const seen = watch(socket);
      await seen.until("session", 3);
      const echo = await seen.echo("still here");
      socket.close();
      return { echo, opens: seen.of("open").length, log: await log(name) };
    },

    async otherUser(name) {
      // The page's user changed, and the session did not.
      const users = ["alice", "bob"];
      const token = () => `${users.shift() ?? "bob"}.${Date.now() + 60_000}`;
      const socket = socketTo("/greeted", name, { token, refresh: true });
      const seen = watch(socket);
      await seen.until("session", 1);
      socket.refresh();
      await seen.until("refused", 1);
      socket.close();
      return { refused: seen.of("refused").map(({ reason }) => reason) };
    },

    async ticket(name) {
      const options = { token: tokens(name), auth: ticket(`${base}/ticket`) };
      const socket = socketTo("/redeem", name, options);
      const seen = watch(socket);
      await seen.until("open", 1);
      socket.send("restart");
      await seen.until("open", 2);
      const echo = await seen.echo("hello");
      socket.close();
      return { echo, closes: seen.closes().slice(0, 1), log: await log(name) };
    },

    async first(name) {
      const socket = socketTo("/first", name, { token: tokens(name), auth: firstMessage() });
      const seen = watch(socket);
      await seen.until("open", 1);
      const echo = await seen.echo("hello");
      socket.close();
      return { echo, log: await log(name) };
    },

    async firstRefused(name) {
      const seen = watch(socketTo("/first", name, { token: () => "bad", auth: firstMessage() }));
      await seen.until("signinneeded", 1);
      return { closes: seen.closes(), log: await log(name) };
    },

    async revoked(name) {
      const socket = socketTo("/socket", name, { token: tokens(name) });
      const seen = watch(socket);
      await seen.until("open", 1);
      await post(`/end/${name}`);
      await seen.until("signinneeded", 1);
      await sleep(1500);
      return { closes: seen.closes(), state: socket.readyState, log: await log(name) };
    },

    async drain(name) {
      const socket = socketTo("/restarting", name, { token: tokens(name) });
      const seen = watch(socket);
      await seen.until("open", 1);
      await post("/restart");
      await seen.until("open", 2);
      const echo = await seen.echo("hello");
      socket.close();
      return { echo, closes: seen.closes().slice(0, 1), log: await log(name) };
    },

    async closing(name) {
      const seen = watch(socketTo("/closing", name, { token: () => "bad" }));
      await seen.until("signinneeded", 1);
      return { closes: seen.closes(), log: await log(name) };
    },

    async refused(name) {
      // A page asks its own origin by itself.
      const probe = isPage ? undefined : `${base}/socket?scenario=${name}`;
      const seen = watch(socketTo("/socket", name, { token: () => "bad", probe }));
      await seen.until("signinneeded", 1);
      return { closes: seen.closes(), log: await log(name) };
    },

    async unseen(name) {
      let asked = 0;
      const token = () => ((asked += 1), "bad");
      const socket = socketTo("/socket", name, { token, probe: false });
      const seen = watch(socket);
      await seen.until("close", 5);
      const delays = seen.of("close").map(({ retryIn }) => retryIn);
      socket.close();
      const grows = delays.every((delay, i) => delay <= 50 * 2 ** i);
      return { asked, grows, signInNeeded: seen.of("signinneeded").length, last: seen.closes()[4] };
    },

    async events(name) {
      const options = { token: tokens(name, 3000), baseDelay: 50, stableAfter: 1000 };
      const source = new AuthEventSource(`${base}/events?scenario=${name}`, options);
      const seen = watch(source);
      await seen.until("message", 2);
      await post(`/end/${name}`);
      await seen.until("signinneeded", 1);
      await sleep(500);
      const messages = seen.of("message").map(({ data, lastEventId }) => [data, lastEventId]);
      const reasons = seen.of("close").map(({ reason, action }) => [reason, action]);
      return { messages, reasons, log: await log(name) };
    },

    async eventsRefused(name) {
      const options = { token: () => "bad", baseDelay: 50 };
      const seen = watch(new AuthEventSource(`${base}/events?scenario=${name}`, options));
      await seen.until("signinneeded", 1);
      return { statuses: seen.of("close").map(({ status }) => status), log: await log(name) };
    },
  };

  if (isPage) {
    scenarios.cookie = async (name) => {
      const renew = async () => {
        await post(`/renew?${Date.now() + LIFETIME}`);
        return "renewed";
      };
      const options = { auth: cookie(), token: renew, refreshUrl: `${base}/refresh/{session}` };
      const socket = socketTo("/cookie", name, options);
      const seen = watch(socket);
      await seen.until("session", 4);
      const echo = await seen.echo("still here");
      socket.close();
      return { echo, readable: document.cookie, opens: seen.of("open").length, log: await log(name) };
    };
  }

  const one = async ([name, scenario]) => {
    const late = sleep(40_000).then(() => "takes too long");
    return [name, await Promise.race([scenario(name), late]).catch((error) => String(error.stack))];
  };
  return Object.fromEntries(await Promise.all(Object.entries(scenarios).map(one)));
};
