export { LocalClouds, type CloudsDescription, type LocalCloudsOptions } from './clouds.ts';
export { pythonEnvironment } from './python-environment.ts';
