export { adapterConformance, type ConformanceCase, type ConformanceTarget } from './adapter-conformance.ts';
export { type HttpStandIn, httpStandIn, json, type ReceivedRequest } from './http-stand-in.ts';
export { greyPng } from './png.ts';
export { comfyApiStandIn, type ComfyApiStandInOptions } from './comfy-api-stand-in.ts';
export { runpodStandIn, type RunPodStandInOptions } from './runpod-stand-in.ts';
