'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const byId = (id) => document.getElementById(id);
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text; // never as HTML
    return element;
  };

  // ------------------------------------------------------------------------------------------- charts
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const narrow = matchMedia('(max-width: 640px)');
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plots = [...document.querySelectorAll('.plot')];
  const drawn = new Set();

  // rows that the names of a legend take, side by side as far as they fit
  function rowsOf(traces, width) {
    if (traces.length < 2) return 0;
    const entry = 48 + 6.4 * Math.max(...traces.map((trace) => trace.name.length));
    return Math.ceil(traces.length / Math.max(1, Math.floor((width - 60) / entry)));
  }

  function themed(figure, width) {
    const colours = dark.matches ? data.dark : data.light;
    const traces = figure.data.map((trace) => {
      if (trace.type === 'heatmap') return trace;
      const colour = colours[trace.meta.colour % colours.length];
      const own = { ...trace, marker: { ...trace.marker, color: colour } };
      if (trace.line) own.line = { ...trace.line, color: colour };
      if (trace.error_y) own.error_y = { ...trace.error_y, color: colour };
      return own;
    });
    const matrix = figure.data.some((trace) => trace.type === 'heatmap');
    const axis = (own) => ({
      gridcolor: css('--rule'), linecolor: css('--rule'), zerolinecolor: css('--rule'), automargin: true,
      showgrid: !matrix, zeroline: false, ...own, title: { standoff: 8, ...own.title },
    });
    const faint = css('--faint');
    const legend = 19 * rowsOf(traces, width);
    const lying = figure.data[0].orientation === 'h';
    const base = matrix ? (narrow.matches ? 330 : 430) : lying ? 90 + 22 * figure.data[0].y.length : narrow.matches ? 270 : 320;
    const layout = {
      ...figure.layout,
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow.matches ? 11 : 12, color: css('--ink') },
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      margin: { l: 48, r: 10, t: 12, b: 46 + legend },
      height: Math.max(base, 200) + legend,
      legend: { orientation: 'h', x: 0, yref: 'container', y: 0, yanchor: 'bottom', font: { size: 11 } },
      hoverlabel: { bgcolor: css('--panel'), bordercolor: css('--rule'), font: { color: css('--ink') } },
      xaxis: axis(figure.layout.xaxis || {}), yaxis: axis(figure.layout.yaxis || {}),
      showlegend: traces.length > 1,
      dragmode: narrow.matches ? false : 'zoom', // a finger scrolls the page
      shapes: (figure.layout.shapes || []).map((shape) => ({ ...shape, line: { ...shape.line, color: faint } })),
      annotations: (figure.layout.annotations || []).map((one) => ({ ...one, font: { size: 11, color: faint } })),
    };
    return [traces, layout];
  }

  // plotly.js lies in the page as text: to read it takes longer than all else, so that is done once, when
  // a chart comes near and nobody is waiting for an answer
  function readPlotly() {
    if (window.Plotly) return;
    const script = make('script', '', byId('plotly').textContent);
    document.head.append(script); // runs at once
    performance.mark('plotly is there');
  }

  function draw(element) {
    readPlotly();
    drawn.add(element);
    const [traces, layout] = themed(data.charts[element.dataset.chart], element.clientWidth);
    const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
      displayModeBar: narrow.matches ? false : 'hover', toImageButtonOptions: { format: 'svg', filename: element.dataset.chart } };
    Plotly.react(element, traces, layout, options);
  }

  const whenIdle = window.requestIdleCallback || ((then) => setTimeout(then, 200)); // Safari has none
  const waiting = new Set();
  function drawNext() {
    const [next] = waiting;
    if (!next) return;
    waiting.delete(next);
    draw(next);
    whenIdle(drawNext, { timeout: 2000 }); // one chart at a time: a click in between is answered
  }
  const near = new IntersectionObserver((entries) => {
    const idle = !waiting.size;
    for (const { target, isIntersecting } of entries) if (isIntersecting && !drawn.has(target)) waiting.add(target);
    if (idle && waiting.size) whenIdle(drawNext, { timeout: 2000 });
  }, { rootMargin: '500px' });
  plots.forEach((element) => near.observe(element));
  const redraw = () => drawn.forEach(draw);
  dark.addEventListener('change', redraw);
  narrow.addEventListener('change', redraw);
  addEventListener('beforeprint', () => plots.forEach(draw));

  const links = new Map([...document.querySelectorAll('nav a')].map((link) => [link.hash.slice(1), link]));
  const current = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const link = links.get(target.id);
      if (link && isIntersecting) link.setAttribute('aria-current', 'true');
      else if (link) link.removeAttribute('aria-current');
    }
  }, { rootMargin: '-20% 0px -75% 0px' });
  document.querySelectorAll('main section').forEach((section) => current.observe(section));

  // ------------------------------------------------------------------------------------------ gallery
  const { runs, videos } = data.gallery;
  if (!runs.length) return;
  const filters = byId('filters').elements;
  const gallery = byId('gallery');
  const PAGE = 36;
  let shown = [];
  let limit = PAGE;

  const run = () => runs[Number(filters.run.value)];
  const answerOf = (clip) => clip.best[clip.best.length - 1][0];
  const isRight = (clip) => answerOf(clip) === clip.label;
  const easeOf = (clip) => clip.truth[clip.truth.length - 1];
  const stepName = (step) => (step === 0 ? 'glance' : `look ${step}`);
  const exitName = (exit) => (run().streamed ? `frame ${exit + 1}` : stepName(exit));
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  const option = (value, text) => Object.assign(make('option', '', text), { value });

  function fillFilters() {
    const { clips, classes } = run();
    const labels = [...new Set(clips.map((clip) => clip.label))].sort((a, b) => a - b);
    const label = filters.label.value;
    filters.label.replaceChildren(option('', 'any'), ...labels.map((number) => option(number, classes[number])));
    if (labels.map(String).includes(label)) filters.label.value = label;
    const exits = [...new Set(clips.map((clip) => clip.exit))].filter((exit) => exit !== null).sort((a, b) => a - b);
    byId('exit-filter').hidden = !exits.length;
    filters.exit.replaceChildren(option('', 'any'), ...exits.map((exit) => option(exit, exitName(exit))));
  }

  function choose() {
    const { label, verdict, exit, order, search } = filters;
    const wanted = search.value.trim().toLowerCase();
    shown = run().clips.filter((clip) =>
      (label.value === '' || clip.label === Number(label.value)) &&
      (verdict.value === '' || isRight(clip) === (verdict.value === 'right')) &&
      (exit.value === '' || clip.exit === Number(exit.value)) &&
      (wanted === '' || clip.id.toLowerCase().includes(wanted)));
    if (order.value !== 'given') {
      const sign = order.value === 'easiest' ? -1 : 1;
      shown.sort((a, b) => sign * (easeOf(a) - easeOf(b)));
    }
    limit = PAGE;
    show();
  }

  function show() {
    const { clips, all } = run();
    const right = shown.filter(isRight).length;
    const drawnFrom = all > clips.length ? ` (of ${all} tested, evenly spread)` : '';
    byId('count').textContent = shown.length
      ? `${shown.length} of ${clips.length} clips${drawnFrom}, ${right} right, ${shown.length - right} wrong`
      : `None of ${clips.length} clips${drawnFrom} fits these filters.`;
    gallery.replaceChildren(...shown.slice(0, limit).map(card));
    byId('more').hidden = shown.length <= limit;
  }

  function card(clip, place) {
    const { classes } = run();
    const verdict = isRight(clip) ? 'right' : 'wrong';
    const button = make('button', `card ${verdict}`);
    button.type = 'button';
    button.append(thumbnail(clip));
    const told = make('span', 'told');
    told.append(make('span', 'true', classes[clip.label]));
    told.append(make('span', `answer ${verdict}`, isRight(clip) ? `✓ ${percent(easeOf(clip))}` : `✗ ${classes[answerOf(clip)]}`));
    told.append(make('span', 'id', clip.exit === null ? clip.id : `${clip.id} · left after ${exitName(clip.exit)}`));
    button.append(told);
    button.addEventListener('click', () => open(place));
    const item = make('li');
    item.append(button);
    return item;
  }

  function thumbnail(clip) {
    const box = make('span', 'thumb');
    if (clip.video === null) {
      box.classList.add('none');
      return box;
    }
    const video = videos[clip.video];
    const frame = Math.floor(video.frames / 2);
    const rows = Math.ceil(video.frames / video.columns);
    box.style.aspectRatio = `${video.width} / ${video.height}`;
    const picture = make('img');
    picture.src = video.source;
    picture.alt = `Frame ${frame + 1} of ${video.frames} of ${clip.id}`;
    picture.decoding = 'async';
    Object.assign(picture.style, {
      width: `${100 * video.columns}%`, height: `${100 * rows}%`,
      left: `${-100 * (frame % video.columns)}%`, top: `${-100 * Math.floor(frame / video.columns)}%`,
    });
    box.append(picture);
    if (clip.windows) box.append(outlines(clip, frame));
    return box;
  }

  function outlines(clip, frame) {
    const space = 'http://www.w3.org/2000/svg';
    const drawing = document.createElementNS(space, 'svg');
    drawing.setAttribute('viewBox', '0 0 1 1');
    drawing.setAttribute('preserveAspectRatio', 'none');
    drawing.setAttribute('aria-hidden', 'true');
    clip.windows.forEach((look, number) => {
      const [top, left, height, width] = look[frame];
      if (!height) return;
      for (const [colour, thickness] of [['#000', 4], [data.looks[number % data.looks.length], 2]]) {
        const rectangle = document.createElementNS(space, 'rect');
        const is = { x: left, y: top, width, height, fill: 'none', stroke: colour, 'stroke-width': thickness, 'vector-effect': 'non-scaling-stroke' };
        for (const [name, value] of Object.entries(is)) rectangle.setAttribute(name, value);
        drawing.append(rectangle);
      }
    });
    return drawing;
  }

  byId('filters').addEventListener('input', (event) => {
    if (event.target.name === 'run') fillFilters();
    choose();
  });
  byId('filters').addEventListener('reset', () => setTimeout(() => { fillFilters(); choose(); }));
  byId('filters').addEventListener('submit', (event) => event.preventDefault());
  byId('more').addEventListener('click', () => {
    const first = limit;
    limit += PAGE;
    show();
    gallery.children[first].firstChild.focus();
  });

  // ------------------------------------------------------------------------------------------- viewer
  const viewer = byId('viewer');
  const canvas = byId('canvas');
  const pictures = new Map();
  let place = 0;

  const pictureOf = (video) => {
    if (!pictures.has(video)) {
      const picture = new Image();
      picture.src = videos[video].source;
      pictures.set(video, picture);
    }
    return pictures.get(video);
  };

  function open(number) {
    place = number;
    const clip = shown[place];
    const { classes, name } = run();
    byId('viewer-title').textContent = runs.length > 1 ? `${clip.id} (${name})` : clip.id;
    const verdict = make('span', isRight(clip) ? 'right' : 'wrong', isRight(clip) ? '✓ right' : `✗ taken for ${classes[answerOf(clip)]}`);
    byId('verdict').replaceChildren(make('b', '', classes[clip.label]), ' ', verdict);
    const video = clip.video === null ? null : videos[clip.video];
    const frames = video ? video.frames : 1;
    byId('frame').max = frames - 1;
    byId('frame').value = Math.floor(frames / 2);
    byId('look').max = clip.truth.length - 1;
    byId('look').value = clip.truth.length - 1;
    for (const id of ['frame', 'seen']) byId(id).parentElement.hidden = !video;
    byId('look').parentElement.hidden = clip.truth.length < 2;
    byId('seen').parentElement.hidden = !video || !clip.windows || !run().glance;
    byId('no-picture').hidden = Boolean(video);
    canvas.hidden = !video;
    byId('legend').replaceChildren(...(clip.windows || []).map((_, look) => {
      const entry = make('span');
      const patch = make('i');
      patch.style.background = data.looks[look % data.looks.length];
      entry.append(patch, stepName(look + 1));
      return entry;
    }));
    byId('previous').disabled = place === 0;
    byId('next').disabled = place === shown.length - 1;
    if (!viewer.open) {
      viewer.showModal();
      byId(video ? 'frame' : 'close').focus();
    }
    update();
  }

  function update() {
    const clip = shown[place];
    const look = Number(byId('look').value);
    const frame = Number(byId('frame').value);
    byId('look-name').textContent = look === 0 ? 'glance alone' : `${look} of ${clip.truth.length - 1}`;
    answers(clip, look);
    if (clip.video === null) return;
    const video = videos[clip.video];
    byId('frame-name').textContent = `${frame + 1} of ${video.frames} (number ${video.indices[frame]} of the video)`;
    const taken = clip.windows ? clip.windows.slice(0, look) : [];
    canvas.setAttribute('aria-label', `Frame ${frame + 1} of ${video.frames} of ${clip.id}` +
      (taken.length ? `, with the patches of ${taken.map((_, number) => stepName(number + 1)).join(' and ')}` : ''));
    const picture = pictureOf(clip.video);
    const paint = () => { if (clip === shown[place] && viewer.open) drawFrame(picture, video, clip, frame, look); };
    if (picture.complete) paint(); else picture.addEventListener('load', paint, { once: true });
  }

  function drawFrame(picture, video, clip, frame, look) {
    const { width, height } = video;
    const scale = Math.max(1, Math.round(720 / width));
    const [wide, high] = [width * scale, height * scale];
    canvas.width = wide;
    canvas.height = high;
    const brush = canvas.getContext('2d');
    const x = (frame % video.columns) * width;
    const y = Math.floor(frame / video.columns) * height;
    const windows = (clip.windows || []).slice(0, look).map((one) => one[frame]);
    const { glance } = run();
    if (byId('seen').checked && glance && clip.windows) {
      const small = make('canvas');
      [small.height, small.width] = [Math.min(glance[0], height), Math.min(glance[1], width)];
      small.getContext('2d').drawImage(picture, x, y, width, height, 0, 0, small.width, small.height);
      brush.imageSmoothingEnabled = false;
      brush.drawImage(small, 0, 0, wide, high);
      brush.imageSmoothingEnabled = true;
      for (const [top, left, tall, broad] of windows) {
        if (tall) brush.drawImage(picture, x + left * width, y + top * height, broad * width, tall * height, left * wide, top * high, broad * wide, tall * high);
      }
    } else brush.drawImage(picture, x, y, width, height, 0, 0, wide, high);
    windows.forEach(([top, left, tall, broad], number) => {
      if (!tall) return;
      const colour = data.looks[number % data.looks.length];
      for (const [stroke, thickness] of [['#000', 7], [colour, 4]]) {
        brush.strokeStyle = stroke;
        brush.lineWidth = thickness;
        brush.strokeRect(left * wide, top * high, broad * wide, tall * high);
      }
      const tag = left * wide + Math.min(26 * number, Math.max(0, broad * wide - 26));
      brush.fillStyle = colour;
      brush.fillRect(tag, top * high, 26, 26);
      brush.fillStyle = number === 5 ? '#fff' : '#000';
      brush.font = '600 20px system-ui, sans-serif';
      brush.textAlign = 'center';
      brush.fillText(String(number + 1), tag + 13, top * high + 20);
    });
  }

  function answers(clip, look) {
    const { classes, streamed } = run();
    byId('answers').replaceChildren(...clip.truth.map((truth, step) => {
      const row = make('tr', step === look ? 'now' : step > look ? 'later' : '');
      if (step === look) row.setAttribute('aria-current', 'step');
      const left = !streamed && clip.exit === step ? ' (left here)' : '';
      const name = make('th', '', clip.truth.length > 1 ? stepName(step) + left : 'all frames');
      name.scope = 'row';
      const right = clip.best[step][0] === clip.label;
      const said = make('td', `answer ${right ? 'right' : 'wrong'}`, `${right ? '✓' : '✗'} ${classes[clip.best[step][0]]}`);
      const others = clip.best[step].slice(1).map((number, rank) => `${classes[number]} ${percent(clip.sure[step][rank + 1])}`);
      said.title = `then ${others.join(', ')}`;
      const sure = make('td', '', percent(clip.sure[step][0]));
      const own = make('td', '', percent(truth));
      const meter = make('span', 'meter');
      const bar = make('span');
      bar.style.width = percent(truth).replace(' ', '');
      meter.append(bar);
      own.append(meter);
      row.append(name, said, sure, own);
      return row;
    }));
  }

  const move = (id, by) => {
    const slider = byId(id);
    slider.value = Number(slider.value) + by;
    update();
  };
  const go = (by) => { if (shown[place + by]) open(place + by); };
  for (const id of ['frame', 'look', 'seen']) byId(id).addEventListener('input', update);
  byId('previous').addEventListener('click', () => go(-1));
  byId('next').addEventListener('click', () => go(1));
  byId('close').addEventListener('click', () => viewer.close());
  viewer.addEventListener('click', (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener('close', () => {
    const item = gallery.children[place];
    if (item) item.firstChild.focus();
  });
  viewer.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.id === 'look' && event.key.startsWith('Arrow')) return; // a slider has its own keys
    const keys = { ArrowLeft: ['frame', -1], ArrowRight: ['frame', 1], ArrowUp: ['look', 1], ArrowDown: ['look', -1] };
    if (event.key === 'n') go(1);
    else if (event.key === 'p') go(-1);
    else if (keys[event.key]) move(...keys[event.key]);
    else return;
    event.preventDefault();
  });

  fillFilters();
  choose();
  performance.mark('clips are there');
})();
