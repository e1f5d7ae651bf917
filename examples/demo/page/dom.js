// Builds elements. Text becomes text, whatever it contains: nothing here parses HTML.

export const $ = (id) => document.getElementById(id);

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** A circle with the first letter of a name, in the person's color. */
export const avatar = (person, size = "") =>
  h("span", { class: `avatar ${size}`, "data-person": person, "aria-hidden": "true" }, person.charAt(0).toUpperCase());

export const named = (person) => person.charAt(0).toUpperCase() + person.slice(1);

/** Of a time in seconds since 1970. */
export const clock = (seconds) =>
  new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export const post = (path, body) =>
  fetch(path, {
    method: "POST",
    headers: body ? { "content-type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
