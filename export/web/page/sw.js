// The service worker: makes the page work offline, and with threads on any static host.
//
// Threads need a cross-origin isolated page, that is, one served with the two headers below. Static
// hosts rarely send them, so the service worker adds them.

const CACHE = "st-page";
const SHELL = ["./", "page.js", "common.css", "icon.svg", "manifest.webmanifest", "engine.json"];
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)));
  self.skipWaiting();
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  // A URL with a digest never changes, so the cache is used. Others are requested from the network.
  const fixed = new URL(request.url).searchParams.has("v");
  event.respondWith((fixed ? keptFirst(request) : newestFirst(request)).then(isolated));
});

async function keptFirst(request) {
  return (await caches.match(request)) ?? fetched(request);
}

async function newestFirst(request) {
  try {
    return await fetched(request);
  } catch (error) {
    const kept = await caches.match(request, { ignoreSearch: request.mode === "navigate" });
    if (kept) return kept;
    throw error;
  }
}

async function fetched(request) {
  const answer = await fetch(request);
  if (answer.status === 200) {
    const cache = await caches.open(CACHE);
    const path = new URL(request.url).pathname;
    const copy = answer.clone();
    const older = (await cache.keys()).filter((one) => new URL(one.url).pathname === path);
    await Promise.all(older.map((one) => cache.delete(one)));
    cache.put(request, copy).catch(() => {}); // storage is full: the page still works online
  }
  return answer;
}

function isolated(answer) {
  if (!answer.status) return answer; // an opaque response from another origin
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = answer;
  return new Response(answer.body, { status, statusText, headers });
}
