// What Prometheus says of alerts, and waiting for it.

import { setTimeout as sleep } from 'node:timers/promises';

/** The names of the alerts that fire now. */
export async function firing(prometheus) {
  const result = await prometheus.ask('group by (alertname) (ALERTS{alertstate="firing"})');
  return new Set(result.map(({ metric }) => metric.alertname));
}

/** Waits until `holds`, and fails with what `otherwise` says after so long. */
export async function until(holds, withinMs, otherwise) {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${otherwise()} after ${withinMs / 1_000} s`);
    await sleep(500);
  }
}
