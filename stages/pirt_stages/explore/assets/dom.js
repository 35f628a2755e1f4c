"use strict";
// One name for everything that the scripts share. Names of images and evaluations only ever become text nodes.
const pirt = { pieces: new Map(), waiting: new Map(), overview: null };

pirt.receive = (name, content) => {
  pirt.pieces.set(name, content);
  const told = pirt.waiting.get(name);
  if (told) told(content);
};

// A page that was opened from disk may not fetch files, but may run scripts that lie beside it.
pirt.load = (name) => {
  if (pirt.pieces.has(name)) return Promise.resolve(pirt.pieces.get(name));
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    pirt.waiting.set(name, resolve);
    script.onerror = () => reject(new Error(`data/${name}.js is missing; copy the whole folder`));
    script.src = `data/${name}.js`;
    document.head.append(script);
  });
};

pirt.fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
};

pirt.el = (tag, attributes, ...children) => pirt.fill(document.createElement(tag), attributes, children);

pirt.svg = (tag, attributes, ...children) =>
  pirt.fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

pirt.percent = (value, digits = 1) => (value === null || value === undefined ? "–" : (100 * value).toFixed(digits));

pirt.signed = (value) => `${value < 0 ? "−" : "+"}${(100 * Math.abs(value)).toFixed(1)}`;

pirt.mean = (values) => {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
};

pirt.file = (folder, number) =>
  `${folder}/${String(Math.floor(number / 1000)).padStart(3, "0")}/${String(number % 1000).padStart(3, "0")}.webp`;
